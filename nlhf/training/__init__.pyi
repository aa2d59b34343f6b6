from .config import TrainingConfig as TrainingConfig
from .config import config_of as config_of
from .config import read_config as read_config
from .loop import TrainingResult as TrainingResult
from .loop import train as train
