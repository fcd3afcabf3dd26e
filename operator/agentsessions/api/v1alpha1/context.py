"""What a session is given besides its goal: text, files, and tables to query."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from agentsessions.api.model import ApiModel, JsonObject
from agentsessions.api.names import MAX_CONTEXT_BYTES
from agentsessions.api.v1alpha1.cel import cel
from agentsessions.api.v1alpha1.names import ConfigKey, ObjectName


class ConfigMapKeyRef(ApiModel):
    """One key of a ConfigMap in the session's namespace."""

    name: ObjectName
    """Name of the ConfigMap."""
    key: ConfigKey
    """Key in the ConfigMap."""


class ContextFile(ApiModel):
    """A file that the agent finds in its workspace."""

    path: Annotated[
        str,
        Field(
            min_length=1,
            max_length=255,
            json_schema_extra={
                "x-kubernetes-validations": [
                    cel(
                        "!self.startsWith('/') && !self.split('/').exists(p, p == '' || p == '.' || p == '..')",
                        "path must stay inside the workspace: relative, without '.', '..' or empty parts",
                    )
                ]
            },
        ),
    ]
    """Where in the workspace: a relative path without `..`."""
    config_map_key_ref: ConfigMapKeyRef
    """Where its content comes from; frozen when the session is accepted."""


class SessionContext(ApiModel):
    """What the agent is given besides the goal."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "[has(self.text), has(self.json), has(self.configMapKeyRef)].filter(p, p).size() <= 1",
                    "give at most one of text, json and configMapKeyRef",
                )
            ]
        }
    )

    text: Annotated[str, Field(min_length=1, max_length=MAX_CONTEXT_BYTES)] | None = None
    """Text shown to the model after the goal. At most 262,144 characters; larger data belongs in files."""
    json_value: JsonObject | None = Field(
        default=None, alias="json", json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}
    )
    """Object shown to the model as JSON after the goal. At most 262,144 bytes."""
    config_map_key_ref: ConfigMapKeyRef | None = None
    """Text from a ConfigMap, shown to the model after the goal."""
    files: (
        Annotated[
            list[ContextFile],
            Field(
                min_length=1,
                max_length=64,
                json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["path"]},
            ),
        ]
        | None
    ) = None
    """Files put into the workspace before the first step. Together at most 1 MB."""


class DataFormat(StrEnum):
    """How the content of a data source is to be read."""

    CSV = "CSV"
    JSON = "JSON"


class DataSource(ApiModel):
    """A table that agents may query with the tool Sql."""

    name: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z][a-z0-9_]*$")]
    """Name of the table."""
    config_map_key_ref: ConfigMapKeyRef
    """Where its content comes from; frozen when the session is accepted."""
    format: DataFormat
    """CSV: a line with the names of the columns, then a line for each row. JSON: a list of flat objects."""


DataSources = Annotated[
    list[DataSource],
    Field(
        min_length=1,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    ),
]
