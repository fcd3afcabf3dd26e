"""ModelProvider: where models come from. Keys stay in Secrets that only the gateway reads."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from agentsessions.api.model import ApiModel
from agentsessions.api.v1alpha1.cel import cel
from agentsessions.api.v1alpha1.names import ConfigKey, ObjectName
from agentsessions.api.v1alpha1.script import Script
from agentsessions.api.v1alpha1.status import Condition


class ProviderType(StrEnum):
    """How a provider is reached."""

    OPENAI_COMPATIBLE = "OpenAICompatible"
    SCRIPTED = "Scripted"


class MaxTokensParameter(StrEnum):
    """The request field by which a model takes the cap of an answer."""

    MAX_COMPLETION_TOKENS = "max_completion_tokens"
    MAX_TOKENS = "max_tokens"


class SecretKeyRef(ApiModel):
    """One key of a Secret in the provider's namespace."""

    name: ObjectName
    """Name of the Secret."""
    key: ConfigKey
    """Key in the Secret."""


class ModelPrices(ApiModel):
    """What a model costs, in whole millionths of a US dollar for a million tokens: 2 dollars are 2000000."""

    input_micro_usd_per_million: Annotated[int, Field(ge=0, le=10**12)] = Field(alias="inputMicroUSDPerMillion")
    """A million tokens sent."""
    output_micro_usd_per_million: Annotated[int, Field(ge=0, le=10**12)] = Field(alias="outputMicroUSDPerMillion")
    """A million tokens answered."""


class ProviderModel(ApiModel):
    """One model of the provider."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    """Name that sessions use."""
    upstream_name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Name sent to the provider, when it is another."""
    max_tokens_parameter: MaxTokensParameter = MaxTokensParameter.MAX_TOKENS
    """Request field that caps the answer: newer OpenAI models take only `max_completion_tokens`."""
    prices: ModelPrices | None = None
    """What it costs. Sessions with limits.maxCostMicroUSD need it."""


class ModelProviderSpec(ApiModel):
    """Where a model is, and how to reach it."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "self.type == 'OpenAICompatible' ? has(self.url) && !has(self.script) : true",
                    "type OpenAICompatible needs url and takes no script",
                ),
                cel(
                    "self.type == 'Scripted' ? has(self.script) && !has(self.url) && !has(self.apiKeySecretRef) : true",
                    "type Scripted needs script and takes neither url nor apiKeySecretRef",
                ),
                cel("self.type == oldSelf.type", "type is immutable: create a provider with another name"),
            ]
        }
    )

    type: ProviderType
    """OpenAICompatible: an HTTP endpoint that speaks Chat Completions. Scripted: answers come from `script`."""
    shared: bool | None = None
    """In the install namespace: serve sessions of every namespace."""
    url: Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$", max_length=512)] | None = None
    """Base URL up to and without `/chat/completions`. Loopback, link-local and cluster addresses only when the
    administrator allows them."""
    api_key_secret_ref: SecretKeyRef | None = None
    """Where the gateway finds the API key. Without it requests carry none."""
    models: Annotated[list[ProviderModel], Field(min_length=1, max_length=64)]
    """Models on offer; the first is the default."""
    script: Script | None = None
    """The script of a Scripted provider."""


class ModelProviderStatus(ApiModel):
    """What the operator found."""

    observed_generation: int | None = None
    """Generation of the spec that the conditions speak of."""
    conditions: Annotated[list[Condition], Field(max_length=8)] | None = Field(
        default=None,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    """Ready: sessions can use it."""


class ModelProvider(ApiModel):
    """A source of models. Looked up in the session's namespace, then among the shared ones of the install namespace."""

    spec: ModelProviderSpec
    """Where the models are."""
    status: ModelProviderStatus | None = None
    """What the operator found."""
