"""The provider of a model by its name: its address, and the variable with its API key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from agentd.models.prices import PriceList, litellm_file
from agentd.problems import did_you_mean, nearest

OPENAI = "https://api.openai.com/v1"
_BARE_OPENAI = re.compile(r"(ft:)?(gpt-|o[134](-|$)|chatgpt-)")
_SECRET_NAME = re.compile(r"API_KEY|ACCESS_KEY|SECRET|TOKEN|PASSWORD")
_ENUM = re.compile(r'^    [A-Z0-9_]+ = "([\w.-]+)"', re.MULTILINE)
_LISTED = re.compile(r'^    "([\w.:-]+)"\s*:\s*\{', re.MULTILINE)


@dataclass(frozen=True)
class Compatible:
    """A family of OpenAI-compatible servers.

    Attributes:
        bases: variables with the address; the first that is set counts.
        keys: variables with the API key; the first that is set counts.
        default: the address if no variable is set.
        rooted: the address is that of the server, and the API is at `/v1` below it.
    """

    bases: tuple[str, ...]
    keys: tuple[str, ...]
    default: str | None = None
    rooted: bool = False


_OLLAMA = Compatible(
    ("OLLAMA_API_BASE", "OLLAMA_HOST"), ("OLLAMA_API_KEY",), "http://localhost:11434", rooted=True
)
COMPATIBLE = {
    "openai": Compatible(("OPENAI_BASE_URL", "OPENAI_API_BASE"), ("OPENAI_API_KEY",), OPENAI),
    "hosted_vllm": Compatible(("HOSTED_VLLM_API_BASE",), ("HOSTED_VLLM_API_KEY",)),
    "lm_studio": Compatible(
        ("LM_STUDIO_API_BASE",), ("LM_STUDIO_API_KEY",), "http://localhost:1234/v1"
    ),
    "llamafile": Compatible(
        ("LLAMAFILE_API_BASE",), ("LLAMAFILE_API_KEY",), "http://localhost:8080/v1"
    ),
    "ollama": _OLLAMA,
    "ollama_chat": _OLLAMA,
}

# The variables that litellm reads for a key; any one of them is enough. Bedrock, Vertex and Azure
# are not in the table: they can also take credentials from the machine, so only a call shows
# whether they have any.
KEYS = {
    "ai21": ("AI21_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    "cerebras": ("CEREBRAS_API_KEY",),
    "cohere": ("COHERE_API_KEY", "CO_API_KEY"),
    "cohere_chat": ("COHERE_API_KEY", "CO_API_KEY"),
    "dashscope": ("DASHSCOPE_API_KEY",),
    "deepinfra": ("DEEPINFRA_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "fireworks_ai": (
        "FIREWORKS_API_KEY",
        "FIREWORKS_AI_API_KEY",
        "FIREWORKSAI_API_KEY",
        "FIREWORKS_AI_TOKEN",
    ),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "groq": ("GROQ_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "moonshot": ("MOONSHOT_API_KEY",),
    "nebius": ("NEBIUS_API_KEY",),
    "nvidia_nim": ("NVIDIA_NIM_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY", "OR_API_KEY"),
    "perplexity": ("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
    "replicate": ("REPLICATE_API_KEY", "REPLICATE_API_TOKEN"),
    "sambanova": ("SAMBANOVA_API_KEY",),
    "together_ai": (
        "TOGETHERAI_API_KEY",
        "TOGETHER_API_KEY",
        "TOGETHER_AI_API_KEY",
        "TOGETHER_AI_TOKEN",
    ),
    "xai": ("XAI_API_KEY",),
}


def first(names: tuple[str, ...], environ: Mapping[str, str]) -> str | None:
    """The value of the first of these variables that is set and not blank, if any."""
    return next((value for name in names if (value := environ.get(name, "").strip())), None)


def split(name: str) -> tuple[str, str]:
    """A model's provider and the rest of its name. `gpt-4o` and similar names are OpenAI's.

    The provider is "" if the name does not say.
    """
    provider, slash, rest = name.partition("/")
    if slash:
        return provider, rest
    return ("openai" if _BARE_OPENAI.match(name) else ""), name


def base_of(family: Compatible, api_base: str | None, environ: Mapping[str, str]) -> str | None:
    """The address above a compatible server's `/chat/completions`; None if it is not configured."""
    base = api_base or first(family.bases, environ) or family.default
    if base is None:
        return None
    base = base.rstrip("/")
    if not family.rooted:
        return base
    if "://" not in base:  # OLLAMA_HOST may be only a host, or the address that the server binds to
        base = "http://" + base.replace("0.0.0.0", "localhost")
        base = base if re.search(r":\d+$", base) else base + ":11434"
    return base if base.endswith("/v1") else base + "/v1"


def missing_key(provider: str, environ: Mapping[str, str]) -> str | None:
    """The variable for the key of this provider, if it needs one and none is set."""
    names = KEYS.get(provider)
    return names[0] if names and not first(names, environ) else None


def secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Values of the environment that no error may show: those whose name looks like a secret's.

    A short value, such as `TOKEN=1`, is no secret, and would be replaced in every text.
    """
    return tuple(
        value
        for name, value in environ.items()
        if _SECRET_NAME.search(name.upper()) and len(value) >= 8
    )


def unknown(name: str, prices: PriceList) -> str | None:
    """Why litellm cannot call a model of this name, with the most similar known name.

    None if it can. A wrong name would otherwise only be noticed at the first task.
    """
    provider, rest = split(name)
    if not provider:
        if not (listed := prices.text()) or prices.provider(name):
            return None
        text = f"`{name}` is not a model that litellm lists, and names no provider"
        return _with_hint(text, did_you_mean(name, _LISTED.findall(listed)))
    if provider in KEYS or provider in COMPATIBLE:
        return None
    known = _providers(prices)
    if not known or provider in known:
        return None
    near = nearest(provider, {*known, *KEYS, *COMPATIBLE, "mock"})
    hint = f"did you mean `{near}/{rest}`?" if near else ""
    return _with_hint(f"`{provider}` in `{name}` is not a provider that litellm knows", hint)


def _with_hint(text: str, hint: str) -> str:
    return f"{text}; {hint}" if hint else text


def _providers(prices: PriceList) -> set[str]:
    """All providers named in litellm's files, which are read as text: an import takes seconds."""
    known = set(re.findall(r'^    "([\w.-]+)/', prices.text(), re.MULTILINE))
    for file, pattern in (
        ("types/utils.py", _ENUM),
        ("llms/openai_like/providers.json", re.compile(r'^  "([\w.-]+)":', re.MULTILINE)),
    ):
        path = litellm_file(file)
        if path and path.is_file():
            known |= set(pattern.findall(path.read_text(encoding="utf-8")))
    return known
