"""Tokenizers: from the hub or a folder, or trained on texts."""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from nlhf.data.text import quoted
from nlhf.errors import InvalidData, InvalidProblem, NotAllowed
from nlhf.lm.loading.chat import set_chat_template
from nlhf.lm.loading.weight_files import local_folder

END_OF_TEXT = "<|endoftext|>"
"""The one special token of a tokenizer that is trained here: it begins and ends texts."""

_BYTES = 256


def load_tokenizer(
    name_or_path: str | Path,
    *,
    end_token: str | None = None,
    chat_template: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> PreTrainedTokenizerBase:
    """Load a tokenizer that has an end token and something to pad with.

    Where the tokenizer names no padding token, the end token pads. That masks no real end: the
    length of every response is kept beside its tokens, and nothing here ever asks whether a token
    equals the padding. Code of your own should not ask either.

    Args:
        name_or_path: A folder, or an id on the hub.
        end_token: The token that ends a response, if it is not the tokenizer's own end token: chat
            models of some families end a turn by another one.
        chat_template: ``tulu`` or a Jinja template; the tokenizer's own by default.
        revision: Branch, tag or commit on the hub.
        trust_remote_code: Run the repository's own tokenizer code.

    Raises:
        InvalidData: There is no tokenizer under that name.
        InvalidProblem: It has no end token and none is given, or the one given is not a token.
        NotAllowed: It needs its own code.
    """
    tokenizer = open_tokenizer(
        name_or_path,
        chat_template=chat_template,
        revision=revision,
        trust_remote_code=trust_remote_code,
    )
    return complete_tokenizer(tokenizer, end_token=end_token)


def open_tokenizer(
    name_or_path: str | Path,
    *,
    chat_template: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> PreTrainedTokenizerBase:
    """Load a tokenizer as it is, which may have no end token: that of a classifier.

    Raises:
        InvalidData: There is no tokenizer under that name.
        NotAllowed: It needs its own code.
    """
    folder = local_folder(name_or_path, revision=revision, weights=False, code=trust_remote_code)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        if "trust_remote_code" in str(error):
            raise NotAllowed(
                f"{folder}: the tokenizer brings its own code, which is not run",
                "read the code; if you trust it, pass trust_remote_code=True",
            ) from error
        raise InvalidData(
            f"{folder}: no tokenizer that transformers knows ({str(error).splitlines()[0]})",
            "give the folder that holds tokenizer.json, or train one by train_tokenizer; a lone "
            "tokenizer.model needs the library sentencepiece",
        ) from error
    if chat_template is not None:
        set_chat_template(tokenizer, chat_template)
    return tokenizer


def complete_tokenizer(
    tokenizer: PreTrainedTokenizerBase, *, end_token: str | None = None
) -> PreTrainedTokenizerBase:
    """Give a tokenizer its end token and something to pad with, in place; see `load_tokenizer`.

    Raises:
        InvalidProblem: As `load_tokenizer`.
    """
    if end_token is not None:
        if end_token not in tokenizer.get_vocab():
            raise InvalidProblem(
                f"the end token {quoted(end_token)} is not one of the {len(tokenizer)} tokens",
                "give a token of the tokenizer's vocabulary, spelled as there",
            )
        tokenizer.eos_token = end_token
    if tokenizer.eos_token_id is None:
        raise InvalidProblem(
            f"the tokenizer of {len(tokenizer)} tokens has no end token (eos_token): nothing could "
            "say that a response has ended, and there is nothing to pad with",
            "name the token that ends a response by end_token",
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> None:
    """Refuse a tokenizer with tokens that the model does not know.

    A model may know more tokens than there are: vocabularies are often padded to round numbers.

    Raises:
        InvalidProblem: With both numbers.
    """
    there = max(tokenizer.get_vocab().values()) + 1
    if there > config.vocab_size:
        raise InvalidProblem(
            f"the tokenizer has {there} tokens, the model {config.vocab_size}",
            "load the tokenizer that belongs to the model",
        )


def train_tokenizer(
    texts: Iterable[str], vocabulary: int, *, context: int | None = None
) -> PreTrainedTokenizerBase:
    """Train a byte-level byte-pair encoding, in which every text can be written.

    `END_OF_TEXT` is its token 0, begins and ends texts and pads; as with GPT-2, the tokenizer does
    not put it anywhere by itself. The same texts give the same tokenizer. Save it by
    ``save_pretrained``.

    Args:
        texts: What to learn from; read once.
        vocabulary: Tokens in all, at least 257: the bytes and `END_OF_TEXT`.
        context: Tokens that the model takes, if known.

    Raises:
        InvalidProblem: The vocabulary is too small.
        InvalidData: There are no texts, or one is not text.
    """
    if vocabulary <= _BYTES:
        raise InvalidProblem(
            f"a vocabulary of {vocabulary} cannot hold {_BYTES} bytes and {END_OF_TEXT}",
            f"give at least {_BYTES + 1}; for sentences of one kind 2,000 to 8,000 are usual",
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_checked(texts), trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
    )
    if context is not None:
        wrapped.model_max_length = context
    return wrapped


def _checked(texts: Iterable[str]) -> list[str]:
    found = list(texts)
    if not any(found):
        raise InvalidData(
            f"{len(found)} texts to train a tokenizer on hold no character", "give some text"
        )
    wrong = next((i for i, text in enumerate(found) if not isinstance(text, str)), None)
    if wrong is not None:
        raise InvalidData(
            f"text {wrong} is {quoted(found[wrong])} ({type(found[wrong]).__name__})",
            "give an iterable of texts, not of tokens or records",
        )
    return found
