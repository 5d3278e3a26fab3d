"""How bills name meters, sellers and developers of models."""

from __future__ import annotations

from dataclasses import dataclass

METERS = {
    "input": "Input Tokens", "cached_input": "Cache Read Input Tokens", "cache_write": "Cache Write Input Tokens",
    "cache_write_1h": "Cache Write Input Tokens (1 hour)", "audio_input": "Audio Input Tokens",
    "image_input": "Image Input Tokens", "output": "Output Tokens", "reasoning": "Reasoning Output Tokens",
    "audio_output": "Audio Output Tokens", "image_output": "Image Output Tokens",
}  # fmt: skip
"""`SkuMeter` of each meter of a price, in the order of rows."""


@dataclass(frozen=True, slots=True)
class Seller:
    """Who sells, hosts and invoices, and what the service is called."""

    name: str
    service: str


_SELLERS = {
    "openai": Seller("OpenAI", "OpenAI API"),
    "anthropic": Seller("Anthropic", "Claude API"),
    "azure": Seller("Microsoft", "Azure OpenAI Service"),
    "azure_ai": Seller("Microsoft", "Azure AI Foundry"),
    "bedrock": Seller("AWS", "Amazon Bedrock"),
    "vertex_ai": Seller("Google Cloud", "Vertex AI"),
    "gemini": Seller("Google", "Gemini API"),
    "mistral": Seller("Mistral AI", "Mistral API"),
    "deepseek": Seller("DeepSeek", "DeepSeek API"),
    "groq": Seller("Groq", "GroqCloud"),
    "xai": Seller("xAI", "xAI API"),
    "cohere": Seller("Cohere", "Cohere API"),
    "openrouter": Seller("OpenRouter", "OpenRouter"),
}
"""By the part of litellm's model string before the slash."""
DEVELOPERS = {
    "openai": "OpenAI", "azure": "OpenAI", "anthropic": "Anthropic", "gemini": "Google", "mistral": "Mistral AI",
    "deepseek": "DeepSeek", "xai": "xAI", "cohere": "Cohere",
}  # fmt: skip
"""Where the seller's name alone tells who made a model."""


def seller_of(provider: str) -> Seller:
    """The seller behind a provider's name; one that is not listed sells under its own."""
    return _SELLERS.get(provider) or Seller(provider, f"{provider} API")
