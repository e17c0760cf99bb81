"""What the conformance suite's server scenarios call by name: tools, prompts, resources, as plain JSON.

The names, texts and schemas are the suite's (`@modelcontextprotocol/conformance`, the descriptions of its
server scenarios). Results are dictionaries in the protocol's own spelling.
"""

import base64
import struct
import zlib
from typing import Any

Json = dict[str, Any]


def _png() -> bytes:
    """One red pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + chunk(b"IEND", b"")
    )


def _wav() -> bytes:
    """One sample of silence."""
    form = struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", 1) + b"\x80\0"
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


PNG = base64.b64encode(_png()).decode()
WAV = base64.b64encode(_wav()).decode()


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def image() -> Json:
    return {"type": "image", "data": PNG, "mimeType": "image/png"}


def resource(uri: str, mime_type: str, words: str) -> Json:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime_type, "text": words}}


# -- tools -----------------------------------------------------------------------------------------

NOTHING: Json = {"type": "object", "properties": {}}

FIXED: dict[str, list[Json]] = {
    "test_simple_text": [text("This is a simple text response for testing.")],
    "test_image_content": [image()],
    "test_audio_content": [{"type": "audio", "data": WAV, "mimeType": "audio/wav"}],
    "test_embedded_resource": [
        resource("test://embedded-resource", "text/plain", "This is an embedded resource content.")
    ],
    "test_multiple_content_types": [
        text("Multiple content types test:"),
        image(),
        resource("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    ],
}
"""Tools that always say the same."""

_2020_12: Json = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def _strings(*names: str) -> Json:
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": list(names)}


SCHEMAS: dict[str, Json] = {
    "test_sampling": _strings("prompt"),
    "test_elicitation": _strings("message"),
    "json_schema_2020_12_tool": _2020_12,
    "test_custom_header": {
        "type": "object",
        "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
        "required": ["region"],
    },
}
"""Tools that take arguments."""


def tools(names: list[str]) -> list[Json]:
    return [
        {"name": name, "description": f"The suite's {name}.", "inputSchema": SCHEMAS.get(name, NOTHING)}
        for name in names
    ]


# -- questions to the person or the model ----------------------------------------------------------


def form(message: str, properties: Json, required: list[str] | None = None) -> Json:
    schema: Json = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return {"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": schema}}


def ask_for(message: str, name: str, kind: str = "string") -> Json:
    return form(message, {name: {"type": kind}}, [name])


def sampling(words: str, most: int) -> Json:
    messages = [{"role": "user", "content": text(words)}]
    return {"method": "sampling/createMessage", "params": {"messages": messages, "maxTokens": most}}


ROOTS: Json = {"method": "roots/list", "params": {}}

DEFAULTS = form(
    "Please review and update the form fields with defaults",
    {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    },
)
"""SEP-1034: a default for each primitive type."""


def _titled(*words: str) -> list[Json]:
    return [{"const": f"value{number}", "title": word} for number, word in enumerate(words, 1)]


ENUMS = form(
    "Please select options from the enum fields",
    {
        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
        "titledSingle": {"type": "string", "oneOf": _titled("First Option", "Second Option", "Third Option")},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
        "titledMulti": {"type": "array", "items": {"anyOf": _titled("First Choice", "Second Choice", "Third Choice")}},
    },
)
"""SEP-1330: each way to spell a choice."""

# -- prompts ---------------------------------------------------------------------------------------

PROMPTS: list[Json] = [
    {"name": "test_simple_prompt", "description": "Says one thing."},
    {
        "name": "test_prompt_with_arguments",
        "description": "Says its arguments.",
        "arguments": [
            {"name": "arg1", "description": "The first", "required": True},
            {"name": "arg2", "description": "The second", "required": True},
        ],
    },
    {
        "name": "test_prompt_with_embedded_resource",
        "description": "Embeds a resource.",
        "arguments": [{"name": "resourceUri", "description": "Which one", "required": True}],
    },
    {"name": "test_prompt_with_image", "description": "Shows an image."},
    {"name": "test_input_required_result_prompt", "description": "Asks before it says anything."},
]


def prompt(name: str, arguments: dict[str, str]) -> list[Json] | None:
    """The contents of one prompt that asks nothing; None where there is none of this name."""
    match name:
        case "test_simple_prompt":
            return [text("This is a simple prompt for testing.")]
        case "test_prompt_with_arguments":
            return [text(f"Prompt with arguments: arg1='{arguments.get('arg1')}', arg2='{arguments.get('arg2')}'")]
        case "test_prompt_with_embedded_resource":
            embedded = resource(
                arguments.get("resourceUri", ""), "text/plain", "Embedded resource content for testing."
            )
            return [embedded, text("Please process the embedded resource above.")]
        case "test_prompt_with_image":
            return [image(), text("Please analyze the image above.")]
        case _:
            return None


# -- resources -------------------------------------------------------------------------------------

RESOURCES: list[Json] = [
    {
        "uri": "test://static-text",
        "name": "static-text",
        "description": "Text that stays.",
        "mimeType": "text/plain",
    },
    {
        "uri": "test://static-binary",
        "name": "static-binary",
        "description": "Bytes that stay.",
        "mimeType": "image/png",
    },
    {
        "uri": "test://watched-resource",
        "name": "watched-resource",
        "description": "Text that may be watched.",
        "mimeType": "text/plain",
    },
]
TEMPLATES: list[Json] = [
    {
        "uriTemplate": "test://template/{id}/data",
        "name": "template",
        "description": "Data for one id.",
        "mimeType": "application/json",
    }
]


def contents(uri: str) -> Json | None:
    """What is behind one address; None where there is nothing."""
    if uri == "test://static-text":
        return {"uri": uri, "mimeType": "text/plain", "text": "This is the content of the static text resource."}
    if uri == "test://static-binary":
        return {"uri": uri, "mimeType": "image/png", "blob": PNG}
    if uri == "test://watched-resource":
        return {"uri": uri, "mimeType": "text/plain", "text": "Watched resource content"}
    number = uri.removeprefix("test://template/").removesuffix("/data")
    if uri == f"test://template/{number}/data":
        data = f'{{"id":"{number}","templateTest":true,"data":"Data for ID: {number}"}}'
        return {"uri": uri, "mimeType": "application/json", "text": data}
    return None
