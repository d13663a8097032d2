"""Path templates: what is one, which paths are its, and the values that these hold."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yagrpc.rest.templates import Template


@pytest.mark.parametrize(
    ("template", "path", "fields"),
    [
        ("/v1/completion", "/v1/completion", {}),
        ("/v1/completion", "/v1/%63ompletion", {}),  # both forms are one path
        ("/v1/completion", "/v1/completion/", None),
        ("/v1/completion", "/v1/Completion", None),
        ("/v1/a.b", "/v1/axb", None),
        ("/operations/{id}", "/operations/d7q", {"id": "d7q"}),
        ("/operations/{id}", "/operations/", None),
        ("/operations/{id}", "/operations/a/b", None),
        ("/operations/{id}", "/operations/a%2Fb", {"id": "a/b"}),
        ("/operations/{id}", "/operations/a%2fb%20%D1%8F", {"id": "a/b я"}),
        ("/operations/{id}", "/operations/a%0Ab", {"id": "a\nb"}),
        ("/operations/{id}", "/operations/a:b", {"id": "a:b"}),
        ("/operations/{id}:cancel", "/operations/d7q:cancel", {"id": "d7q"}),
        ("/operations/{id}:cancel", "/operations/d7q%3Acancel", None),
        ("/operations/{id}:cancel", "/operations/d7q", None),
        ("/operations/{id}:cancel", "/operations/:cancel", None),
        ("/v1/{a.b}/x/{c}", "/v1/1/x/2", {"a.b": "1", "c": "2"}),
        ("/v1/{name=folders/*/models/*}", "/v1/folders/f/models/m", {"name": "folders/f/models/m"}),
        ("/v1/{name=folders/*/models/*}", "/v1/folders/f%2Fg/models/m", {"name": "folders/f%2Fg/models/m"}),
        ("/v1/{name=folders/*}", "/v1/clouds/f", None),
        ("/v1/{rest=**}", "/v1/a/b/c%20d", {"rest": "a/b/c d"}),
        ("/v1/*/x", "/v1/a/x", {}),
        ("/v1/{rest=**}:read", "/v1/a/b:read", {"rest": "a/b"}),
    ],
)
def test_a_path_is_compared_with_a_template(template: str, path: str, fields: dict[str, str] | None) -> None:
    assert Template(template).match(path) == fields


@pytest.mark.parametrize(
    "text",
    [
        *("", "v1", "/", "//a", "/a//b", "/a/", "/{a", "/a}", "/{}", "/{1a}", "/{a.}", "/{a=}", "/{a}/{a}", "/**/a"),
        *("/{a=**}/b", "/a*b", "/{a={b}}", "/{a}b", "/a{b}", "/{a=b//c}", "/{a=*/**/c}"),
    ],
)
def test_what_is_no_template_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="is no path template") as refused:
        Template(text)
    assert repr(text) in str(refused.value)


@given(st.text(min_size=1))
def test_any_value_of_a_segment_comes_back(value: str) -> None:
    path = f"/operations/{quote(value.encode('utf-8', 'replace'), safe='')}"
    found = Template("/operations/{id}").match(path)
    assert found == {"id": value.encode("utf-8", "replace").decode()}


@given(st.text(alphabet="/%:*{}abc0F.~é", max_size=30))
def test_any_path_is_compared_without_an_error(path: str) -> None:
    for template in ("/a/{b}:c", "/{a=**}", "/{a=b/*}/c", "/a/*"):
        fields = Template(template).match(path)
        assert fields is None or all(isinstance(value, str) for value in fields.values())
