"""Judges that a configuration names, as preference and reward models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nlhf.errors import InvalidData
from nlhf.lm.judges.base import BradleyTerryPreference, PreferenceModel, RewardModel
from nlhf.lm.judges.callables import CallablePreference, CallableReward
from nlhf.training.config import JudgeConfig
from nlhf.training.named import named_object


class Judges:
    """What a [judge] section names, loaded once, and wrapped as games want it.

    Args:
        config: The section.
        folder: What relative paths start from.
        tokenizer: Of the policies, for judges that read texts.

    Raises:
        InvalidData: If something cannot be loaded, or cannot be called.
    """

    def __init__(self, config: JudgeConfig, folder: Path, tokenizer: Any) -> None:
        self._config, self._tokenizer = config, tokenizer
        self._objects = [
            (name, named_object(name, folder, "[judge]"))
            for name in (config.preference, config.reward, *config.rewards)
            if name is not None
        ]
        self._preference: PreferenceModel | None = None
        self._rewards: list[RewardModel] = []
        if config.preference is None:
            self._rewards = [self._reward(*named) for named in self._objects]
        else:
            self._preference = self._judge(*self._objects[0])

    def preference(self) -> PreferenceModel:
        """Return the preference; that of Bradley and Terry if a reward is given."""
        if self._preference is None:
            return BradleyTerryPreference(self._rewards[0])
        return self._preference

    def rewards(self) -> list[RewardModel]:
        """Return all rewards."""
        return self._rewards

    def _judge(self, name: str, found: Any) -> PreferenceModel:
        if isinstance(found, PreferenceModel):
            return found
        config = self._config
        return CallablePreference(
            _called(found, name), self._tokenizer, debias=config.debias, batch=config.batch
        )

    def _reward(self, name: str, found: Any) -> RewardModel:
        if isinstance(found, RewardModel):
            return found
        return CallableReward(_called(found, name), self._tokenizer, batch=self._config.batch)


def _called(found: Any, name: str) -> Callable[..., Any]:
    if isinstance(found, type) or not callable(found):
        raise InvalidData(
            f"[judge] {name} is a {type(found).__name__}", "name a function or a judge's object"
        )
    called: Callable[..., Any] = found
    return called
