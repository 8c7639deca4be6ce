import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax

from sharptheory.errors import UserError
from sharptheory.theory.laws import best_of_n
from sharptheory.theory.policies import AutoregressivePolicy, LinearSoftmaxPolicy, TabularPolicy


def test_constructors_agree():
    probs = np.array([[0.5, 0.25, 0.25], [0.1, 0.9, 0.0]])
    with np.errstate(divide="ignore"):
        logs = np.log(probs)
    for policy in (
        TabularPolicy(logs),
        TabularPolicy.from_probs(probs),
        TabularPolicy.from_probs(7 * probs, normalize=True),
        TabularPolicy.from_logits(logs - 5),
        TabularPolicy.from_counts(probs * 100),
    ):
        np.testing.assert_allclose(policy.probs, probs, rtol=1e-14)
        np.testing.assert_allclose(policy.mu, [0.5, 0.5])
    assert TabularPolicy.from_probs([0.5, 0.5]).shape == (1, 2)


def test_extreme_rows_are_ordinary_rows():
    policy = TabularPolicy(np.array([[0.0, -1e4], [np.log(0.5), np.log(0.5)]]))
    assert policy.log_probs[0, 1] == -1e4
    assert TabularPolicy([[0.0]]).shape == (1, 1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: TabularPolicy.from_probs([[0.5, 0.5], [0.5, 0.4]]),
            r"log_probs\[1\] sums to 0.9, off by -0.1.*normalize=True",
        ),
        (lambda: TabularPolicy.from_probs([[0.5, -0.5]]), r"probs\[0, 1\] is -0.5"),
        (lambda: TabularPolicy.from_probs([[0.5, np.nan]]), r"probs\[0, 1\] is nan"),
        (lambda: TabularPolicy([[0.0, np.nan]]), r"log_probs\[0, 1\] is nan"),
        (lambda: TabularPolicy([[1.0, -1.0]]), r"log_probs\[0, 0\] is 1"),
        (lambda: TabularPolicy([[-np.inf, -np.inf]]), r"log_probs\[0\] is all -inf"),
        (lambda: TabularPolicy(np.zeros((2, 0))), r"shape \(2, 0\)"),
        (lambda: TabularPolicy(np.zeros((0, 2))), r"shape \(0, 2\)"),
        (lambda: TabularPolicy(np.zeros((1, 1, 1))), r"expected \[X, Y\]"),
        (lambda: TabularPolicy([[0.0], [0.0]], mu=[1.0]), r"mu has shape \(1,\); expected \(2,\)"),
        (lambda: TabularPolicy([[0.0], [0.0]], mu=[0.5, 0.6]), "mu sums to 1.1"),
        (lambda: TabularPolicy([[0.0], [0.0]], mu=[1.5, -0.5]), r"mu\[1\] is -0.5"),
        (lambda: LinearSoftmaxPolicy(np.zeros((2, 3, 4)), np.zeros(3)), r"theta has shape \(3,\); expected \(4,\)"),
        (lambda: LinearSoftmaxPolicy(np.full((3, 1), np.inf), np.zeros(1)), r"features\[0, 0, 0\] is not finite"),
        (lambda: LinearSoftmaxPolicy(np.zeros(3), np.zeros(1)), "expected .X, Y, d."),
        (lambda: AutoregressivePolicy(()), "conditionals is empty"),
        (lambda: AutoregressivePolicy((np.zeros((1, 1, 3)),)), r"conditionals\[0\]\[0, 0\] sums to 3"),
        (lambda: AutoregressivePolicy((np.log(np.full((1, 2, 2), 0.5)),)), r"conditionals\[0\] has shape"),
    ],
)
def test_bad_input_is_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_files_round_trip(tmp_path):
    probs, mu = np.array([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0]]), np.array([0.25, 0.75])
    np.savez(tmp_path / "a.npz", probs=probs, mu=mu)
    with np.errstate(divide="ignore"):
        np.savez(tmp_path / "b.npz", log_probs=np.log(probs), mu=mu)
        np.save(tmp_path / "c.npy", np.log(probs))
    frame = pd.DataFrame(probs, columns=["a", "b", "c"]).assign(mu=mu)
    frame.to_csv(tmp_path / "d.csv", index=False)
    frame.to_parquet(tmp_path / "e.parquet")
    for name in ("a.npz", "b.npz", "d.csv", "e.parquet"):
        policy = TabularPolicy.from_file(tmp_path / name)
        np.testing.assert_allclose(policy.probs, probs)
        np.testing.assert_allclose(policy.mu, mu)
    assert isinstance(TabularPolicy.from_file(tmp_path / "c.npy").log_probs, np.memmap)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("none.npz", None, "does not exist"),
        (
            "a.npz",
            lambda p: np.savez(p, table=np.eye(2)),
            r"has \['table'\]; expected an array named log_probs or probs",
        ),
        ("a.csv", lambda p: p.write_text("a,b\n0.5,0.6\n"), "a.csv: .*sums to 1.1"),
        ("b.csv", lambda p: p.write_text("a,b\n0.5,x\n"), r"b.csv:2, column 2 \(b\): found 'x'; expected a number"),
        ("a.txt", lambda p: p.write_text("0.5 0.5"), "expected .npz, .npy, .csv or .parquet"),
        ("a.npy", lambda p: np.save(p, np.zeros((2, 2))), "a.npy: .*sums to 2.*normalize=True"),
        ("b.npy", lambda p: np.save(p, np.array([{}]), allow_pickle=True), "b.npy"),
        ("c.npy", lambda p: p.write_bytes(b""), "c.npy"),
        ("d.npy", lambda p: p.write_bytes(b"\x93NUMPY\x01\x00\x14\x00{'shape': (2, 3, } \n"), "d.npy"),
        (
            "e.npy",
            lambda p: np.save(p, np.full((2, 2), np.longdouble("1e4000"))),
            "e.npy: .*is inf; expected a log-prob",
        ),
        ("b.npz", lambda p: p.write_bytes(b"PK\x03\x04" + bytes(30)), "b.npz"),
    ],
)
def test_bad_files_are_named(tmp_path, name, write, message):
    if write:
        write(tmp_path / name)
    with pytest.raises(ValueError, match=message):
        TabularPolicy.from_file(tmp_path / name)


def test_weights_beyond_the_precision_of_their_sum_are_normalised():
    """``1e20 + ln 2`` is ``1e20``: what is subtracted must be the largest weight first."""
    policy = TabularPolicy.from_logits([[1e20, 1e20, -np.inf], [-1e300, 1e300, 0.0]])
    np.testing.assert_allclose(policy.probs, [[0.5, 0.5, 0], [0, 1, 0]])


def read(tmp_path, text: str, **options) -> TabularPolicy:
    (tmp_path / "table.csv").write_text(text)
    return TabularPolicy.from_file(tmp_path / "table.csv", **options)


def test_a_csv_file_without_a_header_loses_no_row(tmp_path):
    np.testing.assert_allclose(read(tmp_path, "0.5,0.5\n0.25,0.75\n").probs, [[0.5, 0.5], [0.25, 0.75]])
    np.testing.assert_allclose(read(tmp_path, "1,3\n3,1\n", normalize=True).probs, [[0.25, 0.75], [0.75, 0.25]])


def test_column_numbers_as_pandas_writes_them_are_a_header(tmp_path):
    assert read(tmp_path, "0,1,2\n0.5,0.3,0.2\n").shape == (1, 3)
    with pytest.raises(ValueError, match=r"table.csv:1 is 0,1: numbers of columns or probabilities"):
        read(tmp_path, "0,1\n0.5,0.5\n")


def test_a_csv_row_may_be_short_but_not_long(tmp_path):
    np.testing.assert_allclose(read(tmp_path, "a,b,c\n0.5,0.5\n0.5,,0.5\n").probs, [[0.5, 0.5, 0], [0.5, 0, 0.5]])
    with pytest.raises(ValueError, match=r"table.csv:3 has 3 fields; expected 2, as line 1"):
        read(tmp_path, "a,b\n0.5,0.5\n0.2,0.3,0.5\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n-1_0,1\n", r"table.csv:2, column 1 \(a\): found '-1_0'; expected a number"),
        ("0.5,0.5\n0.5,1_0\n", r"table.csv:2, column 2: found '1_0'; expected a number"),
        (",0,1\n0,0.5,0.5\n", "table.csv:1: column 1 has no name"),
        ("", "table.csv is empty"),
        ("a,b\n", r"shape \(0, 2\)"),
        ("a,b\n0.5,nan\n", r"probs\[0, 1\] is nan"),
        ("a,mu\n1,0.5\n1,x\n", r"table.csv:3, column 2 \(mu\): found 'x'"),
    ],
)
def test_a_bad_csv_file_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.longdouble])
def test_files_of_any_precision_are_read(tmp_path, kind):
    """What rounding to the type of the file explains is no error, and laws can be taken of what is read."""
    logits = 3 * np.random.default_rng(0).normal(size=(20, 50))
    np.save(tmp_path / "table.npy", log_softmax(logits, axis=1).astype(kind))
    policy = TabularPolicy.from_file(tmp_path / "table.npy")
    np.testing.assert_allclose(
        np.exp(best_of_n(policy.log_probs, 2)), np.exp(best_of_n(log_softmax(logits, axis=1), 2)), atol=1e-3
    )


def test_a_mapped_table_is_copied_only_to_normalise_it(tmp_path):
    exact = log_softmax(np.random.default_rng(0).normal(size=(20, 50)), axis=1)
    for name, table, options, mapped in (
        ("exact", exact, {}, True),
        ("single", exact.astype(np.float32), {}, True),
        ("weights", exact + 5, {"normalize": True}, False),
        ("exact weights", exact, {"normalize": True}, True),
        ("rounded", exact + 1e-7, {}, False),
        ("row", exact[0], {}, True),
    ):
        np.save(tmp_path / "table.npy", table)
        policy = TabularPolicy.from_file(tmp_path / "table.npy", **options)
        assert isinstance(policy.log_probs, np.memmap) == mapped, name
        np.testing.assert_allclose(policy.probs, np.exp(np.atleast_2d(exact)[: policy.shape[0]]), rtol=1e-5)
    np.save(tmp_path / "table.npy", (exact + 1e-4).astype(np.float32))
    with pytest.raises(ValueError, match=r"table.npy: .*off by .*normalize=True"):
        TabularPolicy.from_file(tmp_path / "table.npy")


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.parquet"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 but no more", b"\x93NUMPY\x01\x00", b"a,b\n1,2\n"])
def test_damaged_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
        TabularPolicy.from_file(tmp_path / name)


def test_an_archive_and_an_array_are_told_apart(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((1, 1)))
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(UserError, match=r"a.npz"):
        TabularPolicy.from_file(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "build",
    [
        TabularPolicy,
        TabularPolicy.from_probs,
        TabularPolicy.from_logits,
        TabularPolicy.from_counts,
        lambda table: TabularPolicy([[0.0]], mu=table),
        lambda table: LinearSoftmaxPolicy(table, [1.0]),
        lambda table: LinearSoftmaxPolicy([[1.0]], table),
        lambda table: AutoregressivePolicy((table,)),
    ],
)
@pytest.mark.parametrize("table", [[[0.0], [0.0, 1.0]], "a", [["a"]], [[1j]], {}])
def test_what_is_no_table_is_refused(build, table):
    with pytest.raises(UserError):
        build(table)


def test_linear_softmax_table():
    rng = np.random.default_rng(0)
    features, theta = rng.normal(size=(2, 5, 3)), rng.normal(size=3)
    np.testing.assert_allclose(
        LinearSoftmaxPolicy(features, theta).table().log_probs, log_softmax(features @ theta, axis=1), atol=1e-12
    )


def random_tree(rng, *, n_prompts=2, n_tokens=3, horizon=3) -> AutoregressivePolicy:
    depths = [rng.normal(size=(n_prompts, n_tokens**h, n_tokens + 1)) for h in range(horizon)]
    return AutoregressivePolicy(tuple(log_softmax(2 * conditional, axis=-1) for conditional in depths))


def test_enumeration_is_the_product_of_the_conditionals():
    policy = random_tree(np.random.default_rng(0))
    table = policy.table()
    np.testing.assert_allclose(table.probs.sum(axis=1), 1)
    assert len(policy.responses) == table.shape[1] == 1 + 3 + 9 + 27
    for x in range(2):
        for column, tokens in enumerate(policy.responses):
            log_prob, index = 0.0, 0
            for h, token in enumerate(tokens):
                log_prob += policy.conditionals[h][x, index, token]
                index = index * 3 + token
            if len(tokens) < 3:
                log_prob += policy.conditionals[len(tokens)][x, index, 3]
            assert table.log_probs[x, column] == pytest.approx(log_prob, abs=1e-12)


def test_greedy_and_beam():
    policy = random_tree(np.random.default_rng(1))
    table = policy.table().log_probs
    ranked = [[policy.responses[i] for i in np.argsort(-row)] for row in table]
    # A beam as wide as the tree finds the likeliest sequences in order; width 1 is greedy.
    for beam, best in zip(policy.beam(100), ranked):
        assert beam[:10] == best[:10]
    for x, greedy in enumerate(policy.greedy()):
        index, tokens = 0, []
        for conditional in policy.conditionals:
            token = int(np.argmax(conditional[x, index]))
            if token == 3:
                break
            tokens.append(token)
            index = index * 3 + token
        assert greedy == tuple(tokens)
    with pytest.raises(ValueError, match="width=0"):
        policy.beam(0)


def test_token_temperature_is_not_sequence_power():
    """T = 1 is the policy, T → 0 greedy decoding; in between the sequence law differs from π^{1/T}."""
    from sharptheory.theory.divergences import total_variation
    from sharptheory.theory.laws import power

    policy = random_tree(np.random.default_rng(2))
    np.testing.assert_allclose(policy.tempered(1.0).table().log_probs, policy.table().log_probs)
    cold = policy.tempered(1e-3).table().log_probs
    assert [policy.responses[i] for i in cold.argmax(axis=1)] == policy.greedy()
    gap = total_variation(policy.tempered(0.5).table().log_probs, power(policy.table().log_probs, 2.0))
    assert np.all(gap > 0.01)
    one_token = random_tree(np.random.default_rng(3), horizon=1)
    tempered, powered = one_token.tempered(0.5).table().log_probs, power(one_token.table().log_probs, 2.0)
    np.testing.assert_allclose(tempered, powered, atol=1e-12)
    with pytest.raises(ValueError, match="temperature=0"):
        policy.tempered(0.0)


def test_the_ends_of_token_temperature():
    """T = ∞ is uniform over the possible tokens, the smallest T greedy decoding."""
    policy = AutoregressivePolicy((np.log([[[0.5, 0.3, 0.2]]]), np.log([[[0.8, 0.1, 0.1], [0.5, 0.25, 0.25]]])))
    for conditional in policy.tempered(np.inf).conditionals:
        np.testing.assert_allclose(np.exp(conditional), 1 / 3)
    never = AutoregressivePolicy((np.array([[[-np.log(2), -np.log(2), -np.inf]]]),))
    np.testing.assert_allclose(np.exp(never.tempered(np.inf).conditionals[0]), [[[0.5, 0.5, 0]]])
    np.testing.assert_allclose(np.exp(policy.tempered(1e-320).conditionals[1]), [[[1, 0, 0]] * 2])


def test_unreachable_prefixes_need_no_conditionals():
    first = np.log(np.array([[[1.0, 1e-300, 1e-300]]]))
    second = np.stack([np.full((1, 3), -np.log(3)), np.full((1, 3), -np.inf)], axis=1)
    first[..., 1:] = -np.inf
    policy = AutoregressivePolicy((first, second))
    probs = dict(zip(policy.responses, policy.table().probs[0]))
    assert probs[(0,)] == pytest.approx(1 / 3) and sum(probs.values()) == pytest.approx(1)
    assert all(probs[y] == 0 for y in itertools.product((1,), (0, 1)))
    assert policy.tempered(0.5).table().shape == policy.table().shape


def test_weights_of_prompts_come_along():
    probs, mu = [[0.5, 0.5], [0.9, 0.1]], [0.25, 0.75]
    for policy in (
        TabularPolicy(np.log(probs), mu),
        TabularPolicy.from_probs(probs, mu),
        TabularPolicy.from_logits(np.log(probs), mu),
        TabularPolicy.from_counts([[5, 5], [9, 1]], [1, 3]),
        LinearSoftmaxPolicy(np.log(probs)[..., None], [1.0], mu),
        LinearSoftmaxPolicy(np.log(probs)[..., None], [1.0], mu).table(),
        AutoregressivePolicy.from_table(TabularPolicy.from_probs(probs, mu)),
        AutoregressivePolicy.from_table(TabularPolicy.from_probs(probs, mu)).table(),
        AutoregressivePolicy.from_table(TabularPolicy.from_probs(probs, mu)).tempered(1.0),
    ):
        np.testing.assert_allclose(policy.mu, mu)
    assert LinearSoftmaxPolicy(np.zeros((3, 2)), 1.0 * np.ones(2)).features.shape == (1, 3, 2)


def test_files_of_weights_are_read_as_weights(tmp_path):
    weights, mu = np.array([[5.0, 3.0, 2.0], [6.0, 4.0, 0.0]]), np.array([1.0, 3.0])
    expected = weights / 10
    np.savez(tmp_path / "a.npz", probs=weights, mu=mu)
    with np.errstate(divide="ignore"):
        np.savez(tmp_path / "b.npz", log_probs=np.log(weights), mu=mu)
    frame = pd.DataFrame(weights, columns=["a", "b", "c"]).assign(mu=mu)
    frame.to_csv(tmp_path / "c.csv", index=False)
    frame.to_parquet(tmp_path / "d.parquet")
    for name in ("a.npz", "b.npz", "c.csv", "d.parquet"):
        with pytest.raises(UserError, match=name):
            TabularPolicy.from_file(tmp_path / name)
        policy = TabularPolicy.from_file(tmp_path / name, normalize=True)
        np.testing.assert_allclose(policy.probs, expected)
        np.testing.assert_allclose(policy.mu, [0.25, 0.75])
    frame.assign(a=["x", "y"]).to_parquet(tmp_path / "text.parquet")
    with pytest.raises(UserError, match=r"text.parquet: column 'a' is not numeric"):
        TabularPolicy.from_file(tmp_path / "text.parquet", normalize=True)
    holes = pd.DataFrame({"a": [0.5, 1.0], "b": [0.5, None]})
    holes.to_parquet(tmp_path / "holes.parquet")
    np.testing.assert_allclose(TabularPolicy.from_file(tmp_path / "holes.parquet").probs, [[0.5, 0.5], [1, 0]])


def test_single_precision_tables_are_worked_on_in_double(tmp_path):
    table = log_softmax(np.random.default_rng(0).normal(size=(4, 6)), axis=1).astype(np.float32)
    np.save(tmp_path / "table.npy", table)
    policy = TabularPolicy.from_file(tmp_path / "table.npy")
    assert all(chunk.dtype == float for _, chunk in policy.chunks())
    assert policy.map(lambda rows: rows.sum(axis=1)).dtype == float
    np.save(tmp_path / "whole.npy", np.zeros((2, 1), dtype=int))
    np.testing.assert_array_equal(TabularPolicy.from_file(tmp_path / "whole.npy").probs, [[1], [1]])


def test_a_function_of_a_policy_runs_over_all_of_its_rows():
    policy = TabularPolicy(log_softmax(np.random.default_rng(0).normal(size=(700, 300)), axis=1))
    pieces = [rows for rows, _ in policy.chunks()]
    assert len(pieces) > 1 and [row for rows in pieces for row in range(700)[rows]] == list(range(700))
    np.testing.assert_array_equal(policy.map(lambda rows: rows.max(axis=1)), policy.log_probs.max(axis=1))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TabularPolicy([[np.inf, 0.0]], normalize=True), r"log_probs\[0, 0\] is inf"),
        (lambda: TabularPolicy([[0.0], [5e-6]]), r"log_probs\[1, 0\] is 5e-06; expected a log-probability ≤ 0"),
        (lambda: TabularPolicy([[0.0], [-1e-5]]), r"log_probs\[1\] sums to 0.99999, off by -1e-05; expected 1"),
        (lambda: TabularPolicy.from_probs([[np.inf, 1.0]]), r"probs\[0, 0\] is inf"),
        (lambda: TabularPolicy([[0.0]], mu=[np.inf]), r"mu\[0\] is inf; expected a probability"),
        (lambda: TabularPolicy([[0.0]], mu=[0.0], normalize=True), "mu sums to 0; expected 1"),
        (lambda: LinearSoftmaxPolicy(np.zeros((1, 2, 1)), [np.nan]), r"theta\[0\] is not finite"),
        (lambda: AutoregressivePolicy((np.zeros((1, 1, 1, 1)),)), "its first entry is not"),
        (
            lambda: AutoregressivePolicy((np.log([[[0.5, 0.25, 0.25]]]), np.zeros((1, 2, 3)))),
            r"conditionals\[1\]\[0, 0\] sums to 3; expected 1",
        ),
    ],
)
def test_more_bad_input_is_named(build, message):
    with pytest.raises(UserError, match=message):
        build()


def test_rows_within_the_tolerance_are_made_exact():
    policy = TabularPolicy([[0.0 - 9e-7], [0.0 + 9e-7], [0.0]])
    np.testing.assert_array_equal(policy.log_probs, [[0], [0], [0]])


def test_a_token_tree_says_what_it_is():
    policy = random_tree(np.random.default_rng(0), n_tokens=3, horizon=2)
    assert (policy.n_tokens, policy.horizon) == (3, 2)
    rows = policy.next_token([1, 0, 1], [(2,), (), (0, 1)])
    np.testing.assert_array_equal(rows[0], policy.conditionals[1][1, 2])
    np.testing.assert_array_equal(rows[1], policy.conditionals[0][0, 0])
    np.testing.assert_array_equal(rows[2], [-np.inf] * 3 + [0])  # after H tokens the end is certain
    with pytest.raises(UserError, match="n_tokens=3, horizon=2: a table of"):
        object.__setattr__(policy, "conditionals", (policy.conditionals[0], np.broadcast_to(0.0, (2, 10**9, 4))))
        policy.table()
