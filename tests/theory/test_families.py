import itertools

import numpy as np
import pytest

from sharptheory.errors import UserError
from sharptheory.theory import bounds, families, laws, votes
from sharptheory.theory.coverage import coverage_coefficient, margin
from sharptheory.theory.families import HardFamily
from sharptheory.theory.laws import best_of_n, stopping_threshold


@pytest.mark.parametrize(
    ("n", "n_responses", "m", "mass", "d", "risk"),
    [(10, 4, 8, 0.5, 2, 0.0589), (20, 3, 12, 0.3, 3, 0.1117), (5, 10, 6, 0.8, 2, 0.0527)],
)
def test_minimax_risk_has_the_documented_values(n, n_responses, m, mass, d, risk):
    assert HardFamily(m, mass, d).minimax_risk(n, n_responses) == pytest.approx(risk, abs=5e-5)


def test_the_family_is_what_it_says():
    family = HardFamily(7, 0.4, 3)
    policy = family.policy([2, 0, 6])
    np.testing.assert_allclose(policy.probs.sum(axis=1), 1)
    assert coverage_coefficient(policy, 0.5 - 1e-9) == pytest.approx(family.coverage)
    assert policy.probs[1, 3] == pytest.approx(2 / 7) and family.log_class == pytest.approx(3 * np.log(7))


def seen_after(m: int, t: int) -> np.ndarray:
    """Distribution of the number of distinct cells seen after t uniform throws into m, step by step."""
    law = np.zeros(m + 1)
    law[0] = 1
    for _ in range(t):
        law = law * np.arange(m + 1) / m + np.concatenate([[0], (law * (m - np.arange(m + 1)) / m)[:-1]])
    return law


@pytest.mark.parametrize("m", [3, 4, 8, 61, 200])
def test_identification_error_matches_the_occupancy_law(m):
    """[S4] as it is written, with the occupancy law followed throw by throw."""
    draws = np.unique(np.concatenate([[0, 1, 2], np.geomspace(3, 9 * m, 12).astype(int)]))
    exact = [(1 - 2 / m) ** t * (seen_after(m - 1, t) @ (1 - 1 / (m - np.arange(m)))) for t in draws]
    np.testing.assert_allclose(families.identification_error(m, draws), exact, rtol=1e-9)


def test_identification_error_is_convex_and_small_in_the_end():
    """Convexity in the number of draws is why one response per prompt is best for a given number of queries."""
    for m in (3, 10, 100, 2_000):
        t = np.arange(0, 14 * m)
        error = families.identification_error(m, t)
        assert np.all(np.diff(error) <= 0) and np.all(np.diff(error, 2) >= -1e-11)
    family = HardFamily(9, 0.4, 2)
    risks = [family.minimax_risk(120 // n, n) for n in (1, 2, 3, 4, 6, 12)]
    assert np.all(np.diff(risks) > 0)


@pytest.mark.slow
def test_minimax_risk_matches_simulation():
    """The Bayes rule on 200,000 draws of the family: within 4 standard errors."""
    rng = np.random.default_rng(0)
    n, n_responses, m, mass, d = 10, 4, 8, 0.5, 2
    visits = rng.binomial(n, mass / d, size=200_000)
    errors = np.zeros(len(visits))
    probs = np.full(m, (1 - 1 / (m - 1)) / m)
    probs[0] = 2 / m
    for i, k in enumerate(visits):
        drawn = rng.choice(m, size=k * n_responses, p=probs)
        unseen = m - len(np.unique(drawn))
        errors[i] = 0.0 if 0 in drawn else 1 - 1 / unseen
    risk = mass * errors.mean()
    assert abs(risk - HardFamily(m, mass, d).minimax_risk(n, n_responses)) < 4 * mass * errors.std() / np.sqrt(
        len(visits)
    )


def test_sft_risk_matches_simulation():
    rng = np.random.default_rng(1)
    family, n, n_responses = HardFamily(6, 0.6, 2), 12, 5
    hit = np.exp(best_of_n(family.policy([0, 0]).log_probs[1], n_responses))[1]
    assert hit == pytest.approx(1 - (1 - 2 / 6) ** 5)
    visits = rng.binomial(n, family.mass / family.d, size=200_000)
    wrong = rng.binomial(visits, hit) <= visits / 2
    assert abs(0.6 * wrong.mean() - family.sft_risk(n, n_responses)) < 4 * 0.6 * wrong.std() / np.sqrt(len(visits))


@pytest.mark.parametrize(
    ("m", "n_responses", "eps", "prompts"), [(8, 3, 0.39, 3), (3, 2, 0.05, 3), (3, 1, 0.35, 1), (4, 1, 0.5, 1)]
)
def test_an_even_number_of_votes_can_be_worse_than_an_odd_one(m, n_responses, eps, prompts):
    """One prompt, always drawn: 3 votes do where 4 do not, so bisection would miss them."""
    family = HardFamily(m, 1.0, 1)
    assert family.sft_prompts(eps, n_responses) == prompts
    assert families.smallest(lambda n: family.sft_risk(n, n_responses), eps) == prompts
    assert family.sft_risk(prompts + 1, n_responses) > family.sft_risk(prompts, n_responses)


@pytest.mark.parametrize("mass", [1.0, 0.9, 0.55, 0.3])
@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize(("m", "n_responses"), [(3, 1), (4, 1), (5, 1), (8, 2), (8, 3), (12, 4), (12, 9)])
def test_fewest_prompts_match_a_search_of_every_number(m, mass, d, n_responses):
    """Votes that are right more often than not, less often, and exactly as often."""
    family = HardFamily(m, mass, d)
    risks = np.array([family.sft_risk(n, n_responses) for n in range(150)])
    for eps in mass * np.array([0.05, 0.3, 0.45, 0.5, 0.55, 0.62, 0.7, 0.9, 1.0]):
        reached = np.flatnonzero(risks <= eps)
        prompts = family.sft_prompts(float(eps), n_responses)
        assert prompts == reached[0] if len(reached) else prompts >= 150


def test_the_risk_of_votes_falls_where_it_is_said_to():
    """p ≤ 1/2: always if h ≥ 1/2, up to one turn if not. p > 1/2: over even n, and over odd n in the end."""
    for hit in (0.5, 0.51, 0.8):
        for visit in (0.05, 0.5, 0.7, 0.9, 1.0):
            risks = np.array([votes.binomial_mean(lambda k, h=hit: votes.outvoted(k, h), n, visit) for n in range(80)])
            assert np.all(np.diff(risks[::2]) <= 1e-14)
            assert np.all(np.diff(risks[int(votes._odd_fall(hit, visit)) :: 2]) <= 1e-14)
            if visit <= 0.5:
                assert np.all(np.diff(risks) <= 1e-14)
    for hit in (0.3, 0.45, 0.49):
        for visit in (0.05, 0.3, 0.5):
            risks = [votes.binomial_mean(lambda k, h=hit: votes.outvoted(k, h), n, visit) for n in range(400)]
            rising = np.diff(risks) > 1e-14
            assert np.all(np.diff(rising.astype(int)) >= 0)


@pytest.mark.parametrize(
    ("m", "mass", "d", "eps"),
    [(3, 1.0, 1, 0.35), (3, 0.9, 1, 0.5), (4, 0.6, 1, 0.2), (5, 1.0, 2, 0.3), (7, 0.4, 2, 0.3), (9, 0.3, 1, 0.2)],
)
def test_sft_queries_match_a_search_of_all_pairs(m, mass, d, eps):
    family = HardFamily(m, mass, d)
    queries, n_responses = family.sft_best(eps)
    pairs = [(n, k) for n in range(1, int(queries) + 2) for k in range(1, int(queries) // n + 2)]
    assert queries == min(n * k for n, k in pairs if family.sft_risk(n, k) <= eps) == family.sft_queries(eps)
    assert family.sft_prompts(eps, n_responses) * n_responses == queries


def test_sft_on_hardest_has_the_documented_values():
    for (eps, coverage), queries in {(0.1, 3): 84, (0.3, 5): 14}.items():
        assert families.sft_on_hardest(eps, coverage, 1) == queries
    assert families.sft_on_hardest(0.2, 10, 5, points=12) == 476


@pytest.mark.parametrize(
    ("m", "mass", "d", "n_responses", "eps", "prompts"),
    [
        (1_000, 0.3, 5, 346, 0.29, 2),  # votes that are right with probability .4998
        (1_000, 1.0, 1, 346, 0.1, np.inf),
        (1_000, 1.0, 1, 347, 0.1, 686_665),  # .5008
        (4, 1.0, 2, 1, 0.5, np.inf),  # exactly 1/2: the risk tends to 1/2 and never is
        (100_000, 0.5, 1, 1, 0.4999, np.inf),
        (3, 1.0, 1, 1, 1e-300, 11_653),
    ],
)
def test_the_search_always_returns(m, mass, d, n_responses, eps, prompts):
    assert HardFamily(m, mass, d).sft_prompts(eps, n_responses) == prompts


def test_smallest_stops_at_its_limit_and_where_there_is_no_hope():
    tried = []
    assert families.smallest(lambda n: tried.append(n) or 1.0, 0.5, limit=9) == np.inf and len(tried) == 10
    assert families.smallest(lambda n: 1.0, 0.5, hopeless=lambda n: n == 3) == np.inf
    assert families.smallest(lambda n: 0.4 if n in (5, 8) else 1.0, 0.5) == 5


def test_queries_invert_the_risks():
    family = HardFamily(12, 0.3, 2)
    m = family.minimax_queries(0.05)
    assert family.minimax_risk(m, 1) <= 0.05 < family.minimax_risk(m - 1, 1)
    assert family.sft_queries(0.05) >= m
    assert family.minimax_queries(0.3) == 0
    hit, expected = family.adaptive_stopping(stopping_threshold(0.5))
    assert hit >= 0.75 and expected <= (stopping_threshold(0.5) + 1) * 6


def test_minimax_curve_lies_below_sft_and_both_below_the_upper_bound():
    """Expected risk ε follows from the bounds with ε/2 and ρ = ε/2; a prompt is solved at δ = 1/2."""
    for coverage, d in ((3.0, 2), (20.0, 5)):
        for eps in (0.2, 0.05):
            lower = families.minimax_lower_bound(eps, coverage, d, points=6)
            sft = families.sft_on_hardest(eps, coverage, d, points=6)
            log_class = d * np.log(2 + 2 * (coverage - 1) / eps)
            upper = bounds.sft_cost(eps=eps / 2, delta=0.5, rho=eps / 2, coverage=coverage, log_class=log_class)
            adaptive = families.adaptive_on_hardest(eps, coverage, d, points=6)
            adaptive_upper = bounds.adaptive_cost(
                eps=eps / 2, delta=0.5, rho=eps / 2, c_cov_bar=coverage, log_class=log_class
            )
            assert lower <= sft <= upper.queries and adaptive <= adaptive_upper.queries


def test_slopes_in_eps():
    """-2 for the non-adaptive minimax curve and SFT-Sharpening, -1 for the adaptive rule."""
    eps = np.array([3e-3, 3e-2])
    for curve, slope in (
        (families.minimax_lower_bound, -2),
        (families.sft_on_hardest, -2),
        (families.adaptive_on_hardest, -1),
    ):
        queries = [curve(e, 10.0, 3, points=3) for e in eps]
        assert np.polyfit(np.log(eps), np.log(queries), 1)[0] == pytest.approx(slope, abs=0.05)


def test_greedy_fails_for_every_mass_below_one_half():
    for mass in (0.499, 0.4, 1 / 3, 0.1, 0.01):
        policy = families.greedy_fails(mass)
        table = policy.table()
        assert policy.responses[int(np.argmax(table.log_probs[0]))] == (0, 0) != policy.greedy()[0]
        assert np.exp(table.log_probs.max()) == pytest.approx(mass)
        assert margin(table) > 0
    with pytest.raises(ValueError, match=r"mass=0\.5"):
        families.greedy_fails(0.5)


def test_misspecified_class():
    """The documented masses at n = 200, and no member of the class puts more than 1/2 on the argmax."""
    policy = families.misspecified(200)
    probs = policy.table().probs[0]
    assert policy.responses[int(np.argmax(probs))] == (1, 0)
    assert np.sort(probs)[-2:] == pytest.approx([0.002, 0.413], abs=5e-4)
    rng = np.random.default_rng(0)
    for theta in rng.normal(scale=30, size=(50, 2, 2)):
        member = families.misspecified(6, theta=theta)
        assert member.table().probs[0, member.responses.index((1, 0))] <= 0.5 + 1e-12


def test_max_cut_is_the_argmax_of_its_policy():
    """All graphs on four vertices and some on five."""
    pairs = list(itertools.combinations(range(4), 2))
    graphs = [
        (4, [e for e, bit in zip(pairs, bits) if bit]) for bits in itertools.product((0, 1), repeat=6) if any(bits)
    ]
    graphs += [(5, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)]), (5, [(0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (2, 4)])]
    for n_vertices, edges in graphs:
        policy = families.max_cut_policy(n_vertices, edges)
        table = policy.table()
        best = policy.responses[int(np.argmax(table.log_probs[0]))][:n_vertices]
        exact = families.max_cut(n_vertices, edges)
        assert families.cut_size(best, edges) == exact


def test_packing_separates_sft_from_rlhf_sharpening():
    small, large = (families.packing_policy(d, n).table() for d, n in ((3, 20), (8, 2_000)))
    assert min(margin(small), margin(large)) >= np.expm1(1 / 32) - 1e-12
    assert coverage_coefficient(large) > 20 * coverage_coefficient(small)
    with pytest.raises(ValueError, match="ask for fewer"):
        families.packing_policy(2, 100)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: HardFamily(2, 0.5, 1), "m=2"),
        (lambda: HardFamily(5, 0.0, 1), "mass=0.0"),
        (lambda: HardFamily(5, 0.5, 0), "d=0"),
        (lambda: HardFamily(5, 0.5, 2).sft_queries(1.5), "eps=1.5"),
        (lambda: HardFamily(5, 0.5, 2).sft_prompts(-0.1, 3), "eps=-0.1"),
        (lambda: families.smallest(lambda n: 1.0, 0.0), "eps=0.0"),
        (lambda: HardFamily(5, 0.5, 2).policy([0]), "hidden has 1 entries; expected d=2"),
        (lambda: HardFamily(5, 0.5, 2).minimax_queries(0.0), "eps=0.0"),
        (lambda: families.minimax_lower_bound(0.1, 1.0, 2), "coverage=1.0"),
        (lambda: families.minimax_lower_bound(1.0, 2.0, 2), "eps=1.0"),
        (lambda: families.max_cut_policy(3, []), "edges"),
        (lambda: families.max_cut_policy(3, [(0, 0)]), "edges"),
        (lambda: families.misspecified(2), "n=2"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: HardFamily(np.nan, 0.5, 1), "m=nan; expected an integer from 3 to 1,000,000,000"),
        (lambda: HardFamily(np.inf, 0.5, 1), "m=inf"),
        (lambda: HardFamily(3, np.nan, 1), "mass=nan"),
        (lambda: HardFamily(3, 0.5, np.inf), "d=inf; expected an integer from 1 to"),
        (lambda: HardFamily(3, 0.5, 1).policy([3]), r"hidden\[0\]=3; expected an integer from 0 to 2"),
        (lambda: HardFamily(3, 0.5, 1).policy([-1]), r"hidden\[0\]=-1"),
        (
            lambda: HardFamily(10**9, 0.5, 1).policy([0]),
            "d=1, m=1000000000: a table of 2e.09 entries; expected at most",
        ),
        (lambda: HardFamily(3, 0.5, 1).minimax_risk(np.nan, 1), "n_prompts=nan"),
        (lambda: HardFamily(3, 0.5, 1).minimax_risk(1, np.inf), "n_responses=inf"),
        (lambda: HardFamily(3, 0.5, 1).minimax_queries(np.nan), "eps=nan"),
        (lambda: HardFamily(3, 0.5, 1).sft_risk(np.inf, 1), "n_prompts=inf"),
        (lambda: HardFamily(3, 0.5, 1).sft_prompts(0.1, 0.5), "n_responses=0.5"),
        (lambda: HardFamily(3, 0.5, 1).adaptive_queries(0.1, threshold=np.inf), "threshold=inf"),
        (lambda: families.minimax_lower_bound(0.1, np.inf, 1), "coverage=inf"),
        (lambda: families.minimax_lower_bound(0.1, 1e300, 1), r"coverage=1e\+300 at eps=0.1: families of .* responses"),
        (lambda: families.minimax_lower_bound(0.1, 2.0, 1, points=0), "points=0"),
        (lambda: families.greedy_fails(1e-6), "mass=1e-06: a table of 1e.12 entries; expected at most 134,217,728"),
        (lambda: families.greedy_fails(1e-300), "mass=1e-300: a table of inf entries"),
        (lambda: families.misspecified(10**6), "n=1000000: a table of 1e.12 entries"),
        (lambda: families.misspecified(3, np.nan), "strength=nan"),
        (lambda: families.misspecified(3, theta=[1.0, 2.0]), r"theta=\[1.0, 2.0\]; expected finite numbers \[2, 2\]"),
        (lambda: families.max_cut_policy(60, [(0, 1)]), "n_vertices=60, edges=1 of them: a table of"),
        (lambda: families.max_cut_policy(3, [(0, 1, 2)]), r"edges holds \(0, 1, 2\)"),
        (lambda: families.max_cut(60, [(0, 1)]), "n_vertices=60: a table of"),
        (lambda: families.max_cut_policy(3, [(3, 0)]), "a vertex of edges=3; expected an integer from 0 to 2"),
        (lambda: families.max_cut(3, [(0, 3)]), "a vertex of edges=3; expected an integer from 0 to 2"),
        (lambda: families.packing_policy(1, 3), "dimension=1; expected an integer ≥ 2"),
        (lambda: families.packing_policy(3, 1), "n_points=1; expected an integer ≥ 2"),
        (lambda: families.packing_policy(2, 10**9), "dimension=2, n_points=1000000000: a table of 2e.09"),
        (lambda: families.packing_policy(2, 3, scale=np.inf), "scale=inf"),
    ],
)
def test_families_that_no_memory_or_float_holds_are_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_adaptive_sampling_at_a_hard_prompt_is_that_of_its_row():
    family, threshold = HardFamily(7, 0.5, 2), 1.3
    row = family.policy([0, 0]).log_probs[1]
    exact = laws.adaptive_best_of_n(row, threshold)
    hit, expected_n = family.adaptive_stopping(threshold)
    assert hit == pytest.approx(float(np.exp(exact.law[1])), rel=1e-12)
    assert expected_n == pytest.approx(float(exact.expected_n), rel=1e-12)
    # A level set, so that a million responses cost as much as seven.
    assert HardFamily(10**9, 0.5, 10**6).adaptive_stopping(threshold)[1] > 1e8


@pytest.mark.parametrize("m", [3, 4, 7])
def test_all_cells_hit_matches_enumeration(m):
    from sharptheory.theory.occupancy import all_cells_hit

    throws = np.arange(0, 8 if m < 7 else 9)
    exact = []
    for t in throws:
        if t < m:
            exact.append(0.0)
            continue
        onto, law = 0.0, {0: 1.0}  # how many cells are hit, throw by throw
        for _ in range(t):
            after = {}
            for hit, mass in law.items():
                after[hit] = after.get(hit, 0) + mass * hit / m
                after[hit + 1] = after.get(hit + 1, 0) + mass * (m - hit) / m
            law = after
        onto = law.get(m, 0.0)
        exact.append(onto)
    np.testing.assert_allclose(all_cells_hit(m, throws.astype(float)), exact, rtol=1e-12, atol=1e-15)


def test_binomial_means_and_outvoting_by_hand():
    assert votes.binomial_mean(lambda k: k**2, 4, 0.25) == pytest.approx(4 * 0.25 * 0.75 + 1)
    assert votes.binomial_mean(lambda k: k == 0, 3, 1.0) == 0
    assert votes.binomial_mean(lambda k: k, 1e6, 0.3) == pytest.approx(3e5)
    assert votes.binomial_mean(lambda k: np.ones(len(k)), 0, 0.5) == 1
    # None of no votes, one of one, both of two, two of three.
    np.testing.assert_allclose(
        votes.outvoted([0, 1, 2, 3], 0.6), [1, 0.4, 1 - 0.36, 0.4**3 + 3 * 0.6 * 0.16], rtol=1e-12
    )


@pytest.mark.parametrize("answer", [0, 1, 2, 5, 17, 1_000, 123_456])
@pytest.mark.parametrize("at_least", [0, 1, 3])
def test_crossing_finds_the_first_number_whatever_the_shape(answer, at_least):
    """Steps, lines and powers that fall below ε at `answer`; quickly: halving at worst."""
    for risk in (
        lambda n: 1.0 if n < answer else 0.0,
        lambda n: 0.5 + (answer - n) / 1e6,
        lambda n: 0.5 * (answer + 1) / (n + 1),
    ):
        asked = []
        found = votes.crossing(lambda n, risk=risk, asked=asked: asked.append(n) or risk(n), 0.5, at_least=at_least)
        assert found == max(answer, at_least)
        assert len(asked) <= 12 + 4 * np.log2(answer + 2)


def test_crossing_gives_up_at_its_limit():
    assert votes.crossing(lambda n: 1.0, 0.5, limit=100) == np.inf
    assert votes.crossing(lambda n: 1.0 if n < 100 else 0.5, 0.5, limit=100) == 100
    assert votes.crossing(lambda n: 1.0 if n < 101 else 0.5, 0.5, limit=100) == np.inf


def test_the_hardest_member_is_the_largest_on_the_grid():
    """Δ from 1.1 ε to 20 ε, at most 1, each with the largest M that C allows."""
    seen = []
    found = families.hardest(0.2, 4.0, 3, lambda family: seen.append(family) or family.mass, points=5)
    masses = np.unique(np.minimum(np.geomspace(1.1, 20, 5) * 0.2, 1.0))
    assert [family.mass for family in seen] == pytest.approx(masses) and found == 1.0
    for family in seen:
        assert family.d == 3 and family.coverage <= 4 + 1e-12
        assert HardFamily(family.m + 1, family.mass, 3).coverage > 4
    # Where no family has three responses there is nothing to solve.
    assert families.hardest(0.9, 1.1, 1, lambda family: 7.0, points=1) == 0


def test_adaptive_queries_count_easy_prompts_too():
    """At the easy prompt, of one response, the rule stops after ⌈μ⌉ samples, at least one."""
    family = HardFamily(5, 0.4, 2)
    for threshold, easy in ((2.5, 3), (0.2, 1)):
        hit, expected_n = family.adaptive_stopping(threshold)
        prompts = votes.fewest_prompts(0.2 / 0.4, hit, 0.2)
        queries = family.adaptive_queries(0.2, threshold=threshold)
        assert queries == pytest.approx(prompts * (0.6 * easy + 0.4 * expected_n))
    assert family.adaptive_queries(0.2) == family.adaptive_queries(0.2, threshold=np.log(4))


def test_greedy_fails_as_it_says():
    policy = families.greedy_fails(0.3)
    probs = dict(zip(policy.responses, policy.table().probs[0]))
    assert probs[(0, 0)] == pytest.approx(0.3)
    others = [probs[(1, v)] for v in range(policy.n_tokens)]
    np.testing.assert_allclose(others, 0.7 / policy.n_tokens)
    assert policy.n_tokens == 3 and families.greedy_fails(0.45).n_tokens == 2


def test_misspecified_by_hand():
    """n = 3, B = 1: the features of (2, 1) are those that token 2 shares with token 1."""
    e = np.e
    table = families.misspecified(3, 1.0)
    probs = dict(zip(table.responses, table.table().probs[0]))
    first = np.array([e, e, 1]) / (2 * e + 1)
    for v, w in itertools.product(range(3), repeat=2):
        second = np.array([e, 1, 1]) / (e + 2) if v == 1 else np.full(3, 1 / 3)
        assert probs[(v, w)] == pytest.approx(first[v] * second[w])
    default = families.misspecified(7).table().probs
    np.testing.assert_allclose(default, families.misspecified(7, np.log(7) + 2).table().probs)
    chosen = families.misspecified(3, theta=[[0.0, 1.0], [2.0, 0.0]])
    probs = dict(zip(chosen.responses, chosen.table().probs[0]))
    assert probs[(1, 0)] == pytest.approx(1 / (2 + e) * e**2 / (e**2 + 2))
    assert probs[(2, 1)] == pytest.approx(e / (2 + e) / 3)


@pytest.mark.parametrize(
    ("sides", "edges", "message"),
    [
        ((0, 1), [(0, 2)], "a vertex of edges=2; expected an integer from 0 to 1"),
        ((0, 1), [(0, -1)], "a vertex of edges=-1"),
        ((0, 1), [(0, 1, 1)], r"edges holds \(0, 1, 1\); expected pairs of different vertices"),
        ((0, 1), [0], "edges holds 0; expected pairs"),
        ((0, 1), 5, "edges=5; expected pairs of vertices"),
        ((0, 2), [(0, 1)], "a side of sides=2; expected an integer from 0 to 1"),
        ("text", [(0, 1)], "sides='text'; expected 0 or 1 for each vertex"),
        (7, [(0, 1)], "sides=7; expected 0 or 1"),
    ],
)
def test_what_is_no_cut_of_a_graph_is_named(sides, edges, message):
    with pytest.raises(UserError, match=message):
        families.cut_size(sides, edges)


def test_max_cut_policy_by_hand():
    """The likeliest completion of a cut of size c has mass 2^{-n} σ(B)^c 2^{-(|E|-c)}."""
    edges, sigma = [(0, 1), (1, 2)], 1 / (1 + np.exp(-1.5))
    policy = families.max_cut_policy(3, edges, strength=1.5)
    probs = dict(zip(policy.responses, policy.table().probs[0]))
    assert probs[(0, 1, 0, 1, 1)] == pytest.approx(sigma**2 / 8)
    assert probs[(0, 1, 1, 1, 0)] == pytest.approx(sigma / 2 / 8)
    assert probs[(0, 0, 0, 0, 1)] == pytest.approx(1 / 4 / 8)
    assert sum(probs.values()) == pytest.approx(1) and families.cut_size((0, 1, 0), edges) == 2
    default = families.max_cut_policy(3, edges).table().probs.max()
    assert default == pytest.approx((1 / (1 + np.exp(-2.0))) ** 2 / 8)


def test_a_packing_is_one():
    policy = families.packing_policy(3, 20, seed=4, scale=2.5)
    points = policy.features[0]
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1)
    distances = np.linalg.norm(points[:, None] - points, axis=2) + 9 * np.eye(20)
    assert distances.min() >= 0.25 - 1e-12 and points.shape == (20, 3)
    np.testing.assert_allclose(policy.theta, 2.5 * points[0])
    assert not np.array_equal(points, families.packing_policy(3, 20, seed=5).features[0])
    np.testing.assert_array_equal(points, families.packing_policy(3, 20, seed=4).features[0])
    np.testing.assert_allclose(families.packing_policy(3, 20).theta, families.packing_policy(3, 20).features[0, 0])
