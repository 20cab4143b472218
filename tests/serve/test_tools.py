"""The tools of agents: the answers of the API, and SQL that only reads what is served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.serve.conftest import Shop
from tests.serve.world import HOSTILE, IDS, ITEMS, TOKEN, Served, listed, served

ACCEPT = {"accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def agent(shop: Shop) -> Iterator[Served]:
    """A server with tools, started."""
    found = served(*shop.runs, mcp=True)
    with found.client:
        yield found


def rpc(api: Served, method: str, **params: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer = api.client.post("/mcp", json=body, headers=ACCEPT)
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


def call(api: Served, tool: str, **arguments: Any) -> Any:
    found = rpc(api, "tools/call", name=tool, arguments=arguments)
    assert not found.get("isError"), found
    return json.loads(found["content"][0]["text"])


def refused(api: Served, tool: str, **arguments: Any) -> str:
    found = rpc(api, "tools/call", name=tool, arguments=arguments)
    assert found["isError"], found
    return str(found["content"][0]["text"])


def test_five_tools_are_listed_and_described(agent: Served) -> None:
    tools = rpc(agent, "tools/list")["tools"]
    assert {tool["name"] for tool in tools} == {"search", "similar", "recommend", "item", "sql"}
    assert all(tool["description"] for tool in tools)


def test_they_answer_what_the_api_answers(agent: Served) -> None:
    where = [{"column": "price", "op": "<", "value": 8}]
    text = json.dumps(where)
    assert call(agent, "search", words="word word", k=3) == agent.get(
        "/search", q="word word", k=3)  # fmt: skip
    assert call(agent, "similar", item_id="i0", k=5, filters=where) == agent.get(
        "/similar/i0", k=5, filters=text)  # fmt: skip
    dear = [{"column": "price", "op": ">", "value": 8}]
    for tool, arguments, place, query in (
        ("search", {"words": "word"}, "/search", {"q": "word"}),
        ("recommend", {"user_id": "u0"}, "/recommend/u0", {}),
    ):
        found = call(agent, tool, **arguments, filters=dear)
        assert found == agent.get(place, **query, k=10, filters=json.dumps(dear))
        assert found["items"]
        assert found != call(agent, tool, **arguments)
    assert call(agent, "recommend", user_id="a/b", k=5) == agent.get("/recommend/a%2Fb", k=5)
    assert listed(call(agent, "recommend", item_ids=["i0"], k=2))
    assert "popular" in call(agent, "recommend")["note"]
    assert call(agent, "item", item_id="i0")["title"] == HOSTILE


def test_mistakes_are_one_line(agent: Served) -> None:
    assert "unknown item: nobody" in refused(agent, "item", item_id="nobody")
    assert "unknown user" in refused(agent, "recommend", user_id="nobody")
    assert "one of the two" in refused(agent, "recommend", user_id="u0", item_ids=["i0"])
    assert "is not a column" in refused(
        agent, "similar", item_id="i0", filters=[{"column": "x", "op": "=", "value": 1}]
    )
    assert refused(agent, "search", words="x", k=51)


def test_sql_reads_what_is_served(agent: Served, shop: Shop) -> None:
    found = call(agent, "sql", query="select count(*) as n, min(item_id) from items")
    assert found["columns"] == ["n", "min(item_id)"]
    assert found["rows"][0] == [ITEMS, min(IDS)]
    assert call(agent, "sql", query="select count(*) from toy")["rows"] == [[ITEMS]]
    assert call(agent, "sql", query='select count(*) from "second".users')["rows"]
    found = call(agent, "sql", query="select title from items where item_id = 'i0'")
    assert found["rows"] == [[HOSTILE]]


@pytest.mark.parametrize(
    "query",
    [
        "select * from read_csv('/etc/passwd')", "select * from '/etc/passwd'",
        "select * from read_text('/proc/self/environ')", "copy items to '/tmp/x.csv'",
        "attach '/tmp/x.db'", "install httpfs", "create table x as select 1", "drop view items",
        "select getenv('HOME')", "set memory_limit = '100GB'", "select 1; select 2",
        "select * from glob('/*')", "select * from 'https://127.0.0.1/x.parquet'", "pragma version",
        "select repeat('x', 1000000000)", "", "x" * 10_001,
    ],
)  # fmt: skip
def test_sql_does_nothing_else(agent: Served, query: str) -> None:
    assert refused(agent, "sql", query=query)


def test_answers_of_sql_are_bounded(agent: Served) -> None:
    many = call(agent, "sql", query="select a.item_id from items a, items b")
    assert (len(many["rows"]), many["cut"]) == (200, True)
    query = "select a.item_id from items a, items b limit"
    assert [call(agent, "sql", query=f"{query} {n}")["cut"] for n in (200, 201)] == [False, True]
    few = call(agent, "sql", query=f"select {' || '.join(['text'] * 100)} from items")
    assert (0 < len(few["rows"]) < ITEMS, few["cut"]) == (True, True)
    wide = call(agent, "sql", query="select i.*, t.* from items i, toy t, items x")
    assert wide["cut"]
    assert len(json.dumps(wide)) < 150_000


def test_the_doors_are_before_the_tools(shop: Shop, agent: Served) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    for header in ({"host": "evil.example"}, {"origin": "https://evil.example"}):
        assert agent.client.post("/mcp", json=body, headers={**ACCEPT, **header}).status_code == 403
    with served(shop.runs[1], mcp=True, token=TOKEN).client as client:
        assert client.post("/mcp", json=body, headers=ACCEPT).status_code == 401
        headers = {**ACCEPT, "authorization": f"Bearer {TOKEN}"}
        assert client.post("/mcp", json=body, headers=headers).status_code == 200
    assert served(shop.runs[1]).client.post("/mcp", json=body).status_code == 404


def test_what_python_has_no_value_of_is_an_error_of_one_line(agent: Served) -> None:
    said = refused(agent, "sql", query="select '99999-01-01'::date as late")
    assert "cast it to varchar" in said
    assert call(agent, "sql", query="select ('99999-01-01'::date)::varchar")["rows"]


def test_queries_leave_the_threads_of_the_page_alone(agent: Served) -> None:
    service = agent.service
    service.looks.most, most = 0, service.looks.most
    assert call(agent, "sql", query="select 1")["rows"] == [[1]]
    service.looks.most = most
    service.queries.most, most = 0, service.queries.most
    assert "busy" in refused(agent, "sql", query="select 1")
    assert agent.get("/items")["total"]
    service.queries.most = most
