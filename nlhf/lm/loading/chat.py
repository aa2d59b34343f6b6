"""Conversations, and how a chat template writes them down for the model."""

from dataclasses import dataclass

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from nlhf.data.text import quoted
from nlhf.errors import InvalidData, NotAllowed


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: Who speaks: ``system``, ``user`` or ``assistant``, as far as the template knows them.
        content: What is said.
    """

    role: str
    content: str


Conversation = tuple[Message, ...]
"""Turns in their order."""

Text = str | Conversation
"""A prompt or a response: plain, or as turns to which a chat template is applied."""

TULU = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] in ('system', 'user') %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + '\n' }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ '<|assistant|>\n' + message['content'] + eos_token + '\n' }}"
    "{% else %}{{ raise_exception('there is no role ' + message['role']) }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
"""Tulu 2's format (Ivison et al. 2023, arXiv:2311.10702), the token of the beginning included. The
newline after ``<|assistant|>`` belongs to the prompt; its model card says that answers are worse
without."""

TEMPLATES = {"tulu": TULU}
"""Chat templates that are known by name."""


def set_chat_template(tokenizer: PreTrainedTokenizerBase, name_or_template: str) -> None:
    """Give a tokenizer the template of that name, or that Jinja template.

    Raises:
        InvalidData: It is neither.
    """
    template = TEMPLATES.get(name_or_template, name_or_template)
    if "{" not in template:
        raise InvalidData(
            f"chat template {quoted(name_or_template)}",
            f"give a Jinja template or one of these names: {', '.join(TEMPLATES)}",
        )
    tokenizer.chat_template = template


def as_user(text: Text) -> Conversation:
    """Return a plain prompt as the one turn of a user; a conversation as it is."""
    return (Message("user", text),) if isinstance(text, str) else text


def as_assistant(text: Text) -> Conversation:
    """Return a plain response as one turn of the assistant; a conversation as it is."""
    return (Message("assistant", text),) if isinstance(text, str) else text


def readable(text: Text) -> str:
    """Return what a judge reads: plain text, the only turn's content, or turns with their roles."""
    if isinstance(text, str):
        return text
    if len(text) == 1:
        return text[0].content
    return "\n".join(f"{turn.role}: {turn.content}" for turn in text)


def render_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Conversation, place: str) -> str:
    """Return a prompt as the model reads it, up to where the assistant begins to speak.

    A prompt that ends with the assistant's own words is to be continued.

    Args:
        tokenizer: Has the chat template, which runs in transformers' sandbox.
        prompt: The turns so far.
        place: Names the prompt in errors.

    Raises:
        NotAllowed: The tokenizer has no chat template.
        InvalidData: The template refuses the conversation.
    """
    goes_on = prompt[-1].role == "assistant"
    return _rendered(tokenizer, prompt, place, begin=not goes_on, goes_on=goes_on)


def render_response(
    tokenizer: PreTrainedTokenizerBase, prompt: Conversation, response: Conversation, place: str
) -> str:
    """Return what the template writes after the prompt, the end token excluded.

    Raises:
        NotAllowed: The tokenizer has no chat template, or its template ends the assistant's turn by
            another token than the tokenizer's end token.
        InvalidData: The template refuses the conversation, or writes its beginning in another way
            once it is complete.
    """
    before = render_prompt(tokenizer, prompt, place)
    turns = _merged(prompt, response)
    whole = _rendered(tokenizer, turns, place, begin=False, goes_on=False)
    if not whole.startswith(before):
        raise InvalidData(
            f"{place}: the chat template writes the prompt otherwise when the response follows",
            "use a template that only appends, such as chat_template='tulu'",
        )
    after, end = whole.removeprefix(before), str(tokenizer.eos_token)
    kept, found, _ = after.partition(end)
    spoken = response[-1].content.strip()
    tail = after[after.rfind(spoken) + len(spoken) :].strip()
    if not found and tail:
        raise NotAllowed(
            f"{place}: the chat template ends the assistant's turn by {quoted(tail)}, the "
            f"tokenizer's end token is {quoted(end)}",
            "pass that token as end_token to load_tokenizer",
        )
    return kept if found else kept.rstrip("\n")


def _merged(prompt: Conversation, response: Conversation) -> Conversation:
    """Join a response to the prompt; words of the assistant that the prompt begins go on."""
    if prompt[-1].role != "assistant":
        return (*prompt, *response)
    last = Message("assistant", prompt[-1].content + response[0].content)
    return (*prompt[:-1], last, *response[1:])


def _rendered(
    tokenizer: PreTrainedTokenizerBase,
    turns: Conversation,
    place: str,
    *,
    begin: bool,
    goes_on: bool,
) -> str:
    if tokenizer.chat_template is None:
        raise NotAllowed(
            f"{place}: a conversation, and the tokenizer has no chat template",
            "give it one (chat_template='tulu' or a Jinja template), or plain texts",
        )
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    try:
        text = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=begin, continue_final_message=goes_on
        )
    except (TemplateError, ValueError) as error:
        raise InvalidData(
            f"{place}: the chat template refuses the roles "
            f"{', '.join(turn.role for turn in turns)} ({error})",
            "use roles that the template knows, in the order it asks for, or another template",
        ) from error
    return str(text)
