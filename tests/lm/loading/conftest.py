import pytest

from nlhf.lm.loading.pretrained import Architecture, new_model
from nlhf.lm.loading.tokenizers import train_tokenizer
from nlhf.streams import Stream

TEXTS = [
    "The sky is blue and the sea is green.",
    "Tell me about the sea, please.",
    "The sea is deep; the sky is high. I am happy to tell.",
]


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer(TEXTS, 300, context=64)


@pytest.fixture(params=["gpt2", "llama"])
def architecture(request):
    return Architecture(request.param, vocabulary=31, context=24, width=16, layers=2, heads=2)


@pytest.fixture
def model(architecture):
    return new_model(architecture, Stream(3))
