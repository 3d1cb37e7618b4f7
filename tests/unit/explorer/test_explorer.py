"""The explorer, driven in a real browser: what it computes against the theory in Python, and that it needs nothing but itself."""

import csv
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from playwright.sync_api import sync_playwright
from scipy import special as scipy_special

from tests.tolerances import FLOAT64, PAGE, PAGE_FUNCTIONS, POWER, VANISHED
from tracer import explorer, theory
from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static
from tracer.cli import main
from tracer.explorer.settings import CASES, SLIDERS, START
from tracer.looks import LOOKS
from tracer.theory import design_rules
from tracer.theory.closed_forms import beta_means, ema, wma
from tracer.theory.recursion import Stepping, propagate

PLAIN = {"modes": 4, "decades": 1, "metric": "data", "strength": 0.9, "beta": 0.5, "momentum": 0.9, "learning_rate": 0.1}
EDGES = {
    "ten steps": {**PLAIN, "horizon": 10},
    "one mode": {**PLAIN, "horizon": 300, "modes": 1},
    "beta small": {**PLAIN, "horizon": 1000, "beta": 0.05},
    "beta large": {**PLAIN, "horizon": 1000, "beta": 5, "learning_rate": 0.5},
    "momentum next to 1": {**PLAIN, "horizon": 1000, "momentum": 0.99999},
    "no strength": {**PLAIN, "horizon": 100, "strength": 0},
    "strong": {**PLAIN, "horizon": 500, "strength": 100, "learning_rate": 0.015},
    "large steps": {**PLAIN, "horizon": 400, "learning_rate": 1.03},
    "long": {**PLAIN, "horizon": 10_000},
    "long, four decades, parameters": {
        **PLAIN,
        "horizon": 10_000,
        "modes": 16,
        "decades": 4,
        "metric": "parameter",
        "momentum": 0.9998,
    },
}


def seeded(seed):
    """Settings drawn at random, with a step size that every teacher is stable at."""
    rng = np.random.default_rng([seed, 2605])
    strength = float(10 ** rng.uniform(-2, 1))
    return {
        "modes": int(rng.integers(1, 9)),
        "decades": float(rng.uniform(0, 5)),
        "metric": str(rng.choice(["data", "parameter"])),
        "strength": strength,
        "beta": float(10 ** rng.uniform(-1.2, 0.6)),
        "momentum": float(1 - 10 ** rng.uniform(-4, -0.3)),
        "horizon": int(10 ** rng.uniform(1, 3.3)),
        "learning_rate": float(rng.uniform(0.02, 0.95) * 2 / (1 + strength)),
    }


GRID = EDGES | {f"seed {seed}": seeded(seed) for seed in range(8)}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("explorer") / "pages" / "explorer.html"
    assert main(["explore", "--output", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium")
    if chromium is None:
        missing = "there is no Chromium to open the explorer in: apt-get install chromium"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def tab(browser, file):
    """The page in an offline browser, which writes down what the page asks for and complains of."""
    with browser.new_context(offline=True, viewport={"width": 900, "height": 900}) as context:
        tab = context.new_page()
        tab.seen = []
        tab.on("request", lambda request: tab.seen.append(request.url))
        tab.on("console", lambda message: tab.seen.append(message.text))
        tab.on("pageerror", lambda error: tab.seen.append(str(error)))
        tab.goto(file.as_uri())
        yield tab


@pytest.fixture
def page(tab, file):
    """The page with the settings it opens with; a test fails if the page then asks for anything but itself, or complains."""
    share(tab, {"shown": ",".join(CASES[START].settings["shown"])})
    tab.seen.clear()
    yield tab
    assert {address.partition("#")[0] for address in tab.seen} <= {"about:blank", file.as_uri()}


@pytest.fixture(scope="module", params=GRID.values(), ids=GRID)
def visit(request, tab):
    """Settings, the table and the curves that the page shows for them."""
    tab.seen.clear()
    share(tab, request.param)
    assert tab.text_content("#notice") == ""
    shown = numbers(tab), columns(tab.evaluate("table()"))
    assert tab.seen == []
    return request.param, *shown


def share(page, settings):
    """Follow a link with these settings; a page is told only of an address that differs from the last."""
    page.evaluate(
        """hash => new Promise(done => {
            history.replaceState(null, "", "#");
            addEventListener("hashchange", done, { once: true });
            location.hash = hash;
        })""",
        address(settings),
    )


def address(settings):
    return "&".join(f"{key}={value}" for key, value in settings.items())


def numbers(page):
    """The table: strategy -> number -> its values, most of them one."""
    cells = page.evaluate(
        "() => [...document.querySelectorAll('#numbers data')].map(d => [d.closest('tr').dataset.strategy, d.className, d.value])"
    )
    table = {}
    for strategy, name, value in cells:
        table.setdefault(strategy, {}).setdefault(name, []).append(float(value))
    return table


def columns(text):
    """Columns of a table of comma-separated values, by their headings."""
    heading, *rows = csv.reader(text.splitlines())
    return dict(zip(heading, np.array(rows, dtype=float).T, strict=True))


def spectrum(settings):
    """Curvatures of the data and of the teacher, each (modes,)."""
    curvatures = np.logspace(0, -settings["decades"], settings["modes"])
    return curvatures, settings["strength"] * (curvatures if settings["metric"] == "data" else np.ones_like(curvatures))


def kernels(settings):
    return {
        "static_distillation": Static(),
        "ema_distillation": Exponential(settings["momentum"]),
        "power_law": PowerLaw(settings["beta"]),
        "tracer": Beta(settings["beta"], settings["beta"]),
    }


def task_error(decays):
    """Of (times, modes) errors that began at 1 each, every mode with the same share of the task's."""
    return np.linalg.norm(decays, axis=-1) / np.sqrt(decays.shape[-1])


def moved(decays):
    """Change of the task's embeddings over that at the optimum, of (times, modes) errors that began at 1 each."""
    return task_error(1 - decays)


def force_of(settings, gaps):
    """Norm of the force over that of the initial task gradient."""
    curvatures, teacher_curvatures = spectrum(settings)
    return np.linalg.norm(teacher_curvatures / np.sqrt(curvatures) * gaps, axis=-1) / np.linalg.norm(np.sqrt(curvatures))


def by_recursion(settings, kernel, times):
    """Task error, change and force at the times, and the impulse, by the theory's recursion."""
    stepping = Stepping(settings["learning_rate"], Clock(settings["horizon"]), kernel)
    found = propagate(*spectrum(settings), stepping, np.append(times, settings["horizon"]))
    summed = force_of(settings, found.decay_impulse[-1]) / settings["learning_rate"]
    gaps = (found.student_decay - found.teacher_decay)[:-1]
    students = found.student_decay[:-1]
    return task_error(students), moved(students), force_of(settings, gaps), summed


def elsewhere(settings):
    """The same settings with other kernels."""
    return {**settings, "beta": 2 * settings["beta"], "momentum": settings["momentum"] / 2}


def assert_shows(shown, predicted, nulls, tolerance=PAGE):
    """What the page shows agrees with the prediction relative to itself, and each null prediction misses by far."""
    shown, predicted = np.asarray(shown, dtype=float), np.asarray(predicted, dtype=float)
    assert shown.shape == predicted.shape
    scale = np.where(np.abs(predicted) < VANISHED, 1, np.abs(predicted))

    def error(prediction):
        return np.max(np.abs(prediction - shown) / scale)

    assert error(predicted) <= tolerance
    for name, null in nulls.items():
        assert error(null) >= POWER * tolerance, f"the test could not tell the prediction from this one: {name}"


def test_curves_and_numbers_are_those_of_the_recursion(visit):
    settings, table, drawn = visit
    times = drawn["step"].astype(int)
    assert (times[0], times[-1]) == (0, settings["horizon"])
    kept = (1 - settings["learning_rate"] * spectrum(settings)[0]) ** times[:, None]
    assert_shows(drawn["flyp_residual"], task_error(kept), {"nothing moved": 1.0})
    assert_shows(
        drawn["flyp_moved"], moved(kept), {"the task error's complement": 1 - task_error(kept)} if len(kept[0]) > 1 else {}
    )
    predicted = {strategy: by_recursion(settings, kernel, times) for strategy, kernel in kernels(settings).items()}
    for strategy, another in zip(predicted, [*list(predicted)[1:], "static_distillation"], strict=True):
        nulls = [{"nothing moved": 1.0}, {"nothing moved": 0.0}, {}, {}]
        if settings["strength"] > 0:
            nulls = [
                {"nothing moved": still, "another kernel": null}
                for still, null in zip((1, 0, 0, 0), predicted[another], strict=True)
            ]
        residual, change, force, impulse = predicted[strategy]
        assert_shows(drawn[f"{strategy}_residual"], residual, nulls[0])
        assert_shows(drawn[f"{strategy}_moved"], change, nulls[1])
        assert_shows(drawn[f"{strategy}_force"], force, nulls[2])
        assert_shows(table[strategy]["impulse"], [impulse], nulls[3])
        assert table[strategy]["residual"] == [drawn[f"{strategy}_residual"][-1]]
        assert table[strategy]["moved"] == [drawn[f"{strategy}_moved"][-1]]
        assert table[strategy]["force"] == [drawn[f"{strategy}_force"][-1]]


def test_curves_are_those_of_the_closed_forms(visit):
    settings, _, drawn = visit
    times, (curvatures, teacher_curvatures), rate = drawn["step"][1:, None], spectrum(settings), settings["learning_rate"]
    for strategy, form, parameter in (("ema_distillation", ema, "momentum"), ("power_law", wma, "beta")):
        right, wrong = (of[parameter] for of in (settings, elsewhere(settings)))

        def predict(value, form=form):
            arguments = curvatures, teacher_curvatures, rate, value, times
            return task_error(form.student(*arguments)), force_of(settings, form.gap(*arguments))

        residual, force = predict(right)
        nulls = [{"another kernel": null} if settings["strength"] > 0 else {} for null in predict(wrong)]
        assert_shows(drawn[f"{strategy}_residual"][1:], residual, {"nothing moved": 1.0, **nulls[0]})
        assert_shows(drawn[f"{strategy}_force"][1:], force, nulls[1])


def test_memory_fading_and_stability(visit):
    settings, table, _ = visit
    clock, (curvatures, teacher_curvatures), other = Clock(settings["horizon"]), spectrum(settings), elsewhere(settings)
    problem = theory.Problem(np.diag(curvatures), np.zeros((1, settings["modes"])), np.zeros((1, settings["modes"])))
    for strategy, kernel in kernels(settings).items():
        shown = table[strategy]
        memory, another = ([of.anchor_weight(clock), 100 * of.mean_age(clock)] for of in (kernel, kernels(other)[strategy]))
        nulls = {} if strategy == "static_distillation" else {"another kernel": another}
        assert_shows([*shown["anchor-weight"], *shown["mean-age"]], memory, nulls)
        distillation = theory.Distillation(settings["strength"], kernel, settings["metric"])
        null = {"twice the strength": 2 / np.max(curvatures + 2 * teacher_curvatures)} if settings["strength"] > 0 else {}
        assert_shows(shown["largest"], [theory.max_learning_rate(problem, distillation, total_steps=settings["horizon"])], null)
    rate, ends = settings["learning_rate"], np.array([0, -1])
    half_lives = [ema.half_life_steps(curvatures, teacher_curvatures, rate, of["momentum"])[ends] for of in (settings, other)]
    exponents = [wma.persistence_exponent(curvatures, teacher_curvatures, of["beta"])[ends] for of in (settings, other)]
    momentum_matters = settings["strength"] > 0 or settings["momentum"] > 0.9
    for strategy, name, (right, wrong) in (
        ("ema_distillation", "half-life", half_lives),
        ("power_law", "persistence", exponents),
        ("tracer", "persistence", exponents),
    ):
        shown = table[strategy][name]  # one value where both ends read alike
        nulls = {"another kernel": wrong[: len(shown)]} if momentum_matters or name == "persistence" else {}
        assert_shows(shown, right[: len(shown)], nulls)


def test_numbers_are_those_of_a_whole_problem(page):
    """The page's spectrum as a problem of weights, its numbers as the theory's paths and design rules have them."""
    settings = {**PLAIN, "horizon": 200, "decades": 2, "modes": 6, "metric": "parameter"}
    share(page, settings)
    table, (curvatures, _) = numbers(page), spectrum(settings)
    problem = theory.Problem(np.diag(curvatures), np.sqrt(curvatures / 6)[None], np.zeros((1, 6)))
    gradient = np.linalg.norm(problem.cross_covariance)
    for strategy, kernel in kernels(settings).items():
        distillation = theory.Distillation(settings["strength"], kernel, settings["metric"])
        point = design_rules.measure(problem, distillation, learning_rate=settings["learning_rate"], steps=200)
        path = theory.gradient_descent(problem, distillation, learning_rate=settings["learning_rate"], steps=200)
        force, early = path.force_norm([200, 20]) / gradient
        shown = [table[strategy][name][0] for name in ("residual", "force", "impulse")]
        impulse = point.impulse / settings["learning_rate"] / gradient
        assert_shows(shown, [point.residual, force, impulse], {"too early": [point.residual, early, impulse]})
        change, sooner = (forgotten(problem, path.weights(steps)) for steps in (200, 20))
        assert_shows(table[strategy]["moved"], [change], {"too early": [sooner]})


def forgotten(problem, weights):
    """Root of the theory's forgetting over that of the task's optimum."""
    return np.sqrt(theory.describe(problem, weights).forgetting / theory.describe(problem, theory.optimum(problem)).forgetting)


@pytest.mark.parametrize("metric", ["data", "parameter"])
def test_outside_the_task_only_weight_decay_forgets(page, metric):
    """Of weights in as many directions that the task's images do not span, as the page says of them."""
    settings = {**PLAIN, "horizon": 30, "metric": metric}
    share(page, settings)
    (shown,) = re.findall(r"keep ([\d.]+) %", page.text_content("#forgotten"))
    curvatures, _ = spectrum(settings)
    nothing = np.zeros(4)
    start = np.random.default_rng(0).standard_normal((1, 8))
    problem = theory.Problem(np.diag([*curvatures, *nothing]), np.array([[*np.sqrt(curvatures / 4), *nothing]]), start)

    def told(strategy):
        path = theory.gradient_descent(problem, strategy, learning_rate=settings["learning_rate"], steps=30)
        return theory.describe(problem, path.weights(30))

    for kernel in kernels(settings).values():
        kept = told(theory.Distillation(settings["strength"], kernel, metric))
        assert kept.retention == pytest.approx(1, abs=FLOAT64)
        assert kept.orthogonal_displacement <= FLOAT64
    lost = told(theory.WeightDecay(settings["strength"]))
    assert lost.orthogonal_displacement > POWER * FLOAT64
    assert float(shown) == pytest.approx(100 * lost.retention, rel=0.005)  # of three digits


def test_weight_decay_that_diverges_is_said(page):
    share(page, {**PLAIN, "horizon": 30, "strength": 100, "learning_rate": 0.1})
    assert "would diverge" in " ".join(page.text_content("#forgotten figcaption").split())


def test_special_functions_of_the_page(page):
    rng = np.random.default_rng(26)
    a, b, y = 10 ** rng.uniform(-1.5, 1, 200), 10 ** rng.uniform(-1.5, 1, 200), rng.uniform(0, 1, 200)
    cdf = page.evaluate("args => args.map(([a, b, y]) => betaDistribution(a, b)(y))", np.stack([a, b, y], axis=1).tolist())
    assert_shows(cdf, scipy_special.betainc(a, b, y), {"a and b swapped": scipy_special.betainc(b, a, y)}, PAGE_FUNCTIONS)
    a, b = np.minimum(a, 3), np.minimum(b, 3)
    x, t = rng.uniform(0, 1, 200) ** 3, np.floor(10 ** rng.uniform(0, 4, 200))
    mean = page.evaluate("args => args.map(([a, b, x, t]) => betaMeanPower(a, b, x, t))", np.stack([a, b, x, t], axis=1).tolist())
    exact = beta_means.beta_mean_power(a, b, x, t)
    assert_shows(mean, exact, {"one step late": beta_means.beta_mean_power(a, b, x, t + 1)}, PAGE_FUNCTIONS)


@pytest.mark.parametrize("slider", SLIDERS, ids=lambda slider: slider.key)
def test_sliders_move_what_they_name(page, slider):
    settings = {**PLAIN, "horizon": 300, "decades": 2, "metric": "parameter"}
    share(page, settings)
    before = page.inner_text("#numbers")
    page.press(f"#{slider.key}", "PageDown")
    page.wait_for_function("before => document.querySelector('#numbers').innerText !== before", arg=before)
    page.evaluate("() => new Promise(requestAnimationFrame)")
    moved = settings | {slider.key: float(page.input_value(f"#{slider.key}-value"))}
    moved |= {key: int(moved[key]) for key in ("horizon", "modes")}
    assert moved[slider.key] < settings[slider.key]
    strategy = "ema_distillation" if slider.key == "momentum" else "tracer"
    (residual, old), _, (force, _), (impulse, _) = zip(
        *(by_recursion(of, kernels(of)[strategy], [of["horizon"]]) for of in (moved, settings)), strict=True
    )
    shown = numbers(page)[strategy]
    assert_shows(shown["residual"], residual, {"nothing moved": old})
    assert_shows([*shown["force"], *shown["impulse"]], [*force, impulse], {})


def test_a_number_may_be_typed(page):
    share(page, {**PLAIN, "horizon": 300})
    old = numbers(page)
    page.fill("#momentum-value", "0.97")
    page.press("#momentum-value", "Enter")
    page.evaluate("() => new Promise(requestAnimationFrame)")
    assert_shows(
        numbers(page)["ema_distillation"]["mean-age"],
        [100 * Exponential(0.97).mean_age(Clock(300))],
        {"0.9": old["ema_distillation"]["mean-age"]},
    )


BROUGHT_IN = [
    ("momentum", "7", "0.99999", "Takes 0 to 0.99999: 7 became 0.99999."),
    ("momentum", "-1", "0", "Takes 0 to 0.99999: -1 became 0."),
    ("momentum", "much", None, "“much” is no number: the setting stays as it was."),
    ("horizon", "50,000", "10000", "Takes 10 to 10000, whole numbers: 50,000 became 10000."),
    ("modes", "2.4", "2", "Takes 1 to 32, whole numbers: 2.4 became 2."),
]


@pytest.mark.parametrize(("key", "text", "stands", "told"), BROUGHT_IN)
def test_a_number_that_is_not_taken_as_it_is_is_said_beside_its_control(page, key, text, stands, told):
    before = page.input_value(f"#{key}-value")
    page.fill(f"#{key}-value", text)
    page.press(f"#{key}-value", "Enter")
    page.wait_for_function("key => document.getElementById(`${key}-note`).textContent !== ''", arg=key)
    assert page.input_value(f"#{key}-value") == (stands or before)
    assert page.inner_text(f".slider:has(#{key}) output") == told
    assert page.is_visible(f"#{key}-note")
    page.press("#strength", "ArrowLeft")
    page.wait_for_function("key => document.getElementById(`${key}-note`).textContent === ''", arg=key)


def test_a_number_of_the_address_is_brought_in_and_said(page):
    share(page, {"momentum": 2, "horizon": "long", "beta": 0.7})
    assert page.input_value("#momentum-value") == "0.99999"
    assert page.inner_text("#momentum-note") == "Takes 0 to 0.99999: 2 became 0.99999."
    assert page.inner_text("#horizon-note") == "“long” is no number: the setting stays as it was."
    assert page.input_value("#horizon-value") == str(CASES[START].settings["horizon"])
    assert page.input_value("#beta-value") == "0.7"
    assert page.text_content("#beta-note") == ""


def test_the_address_holds_the_settings(page, file):
    page.click("button[data-case=tuned]")
    page.press("#beta", "ArrowRight")
    page.uncheck("input[value=flyp]")
    page.check("input[value=cumulated]")
    page.wait_for_function("() => location.hash.includes('cumulated')")
    shown, link = page.inner_text("#numbers"), page.url
    assert "shown=static_distillation,ema_distillation,tracer,power_law" in link
    page.goto("about:blank")
    page.goto(file.as_uri())
    assert page.inner_text("#numbers") != shown
    page.goto("about:blank")
    page.goto(link)
    assert page.inner_text("#numbers") == shown
    assert page.is_checked("input[value=cumulated]")
    assert not page.is_checked("input[value=flyp]")
    assert page.locator("#residual path.curve").count() == 4


def test_an_address_that_makes_no_sense_is_said(page):
    share(page, {"metric": "euclid", "shown": "everything", "cat": 1, "beta": 0.7})
    notice = page.text_content("#notice")
    for part in ("metric=euclid", "shown=everything", "cat=1"):
        assert part in notice
    assert "beta" not in notice
    assert page.input_value("#beta-value") == "0.7"


def test_unstable_settings_are_said_and_not_drawn(page):
    """Between the teachers' largest learning rates: 2 / 1.9 at rest, 2 / (1 + 2 * 0.5 * 0.9 / 1.5) for the EMA, 2 for FLYP."""
    share(page, {**PLAIN, "momentum": 0.5, "horizon": 100, "learning_rate": 1.2})
    notice = page.text_content("#notice")
    assert "1.2 these diverge and are not drawn" in notice
    for strategy in ("static_distillation", "tracer"):
        assert f"{LOOKS[strategy].label} (stable up to 1.05)" in notice
    assert LOOKS["ema_distillation"].label not in notice
    assert page.inner_text("#learning_rate-note") == "Some diverge: all are stable up to 1.05."
    drawn = page.locator("#residual path.curve").evaluate_all("paths => paths.map(path => path.getAttribute('stroke'))")
    assert drawn == [LOOKS["flyp"].color, LOOKS["ema_distillation"].color]
    assert page.locator("#numbers tr[data-strategy=tracer]").inner_text().count("unstable") == 5
    share(page, {**PLAIN, "momentum": 0.5, "horizon": 100, "learning_rate": 1.05})
    assert page.text_content("#notice") == page.text_content("#learning_rate-note") == ""
    assert page.locator("#residual path.curve").count() == page.locator("#forgotten path.curve").count() == 5


def test_no_strength_is_said(page):
    share(page, {**PLAIN, "horizon": 100, "strength": 0})
    assert page.text_content("#force svg text") == "No force: the strength is 0."


def test_cases_show_what_they_tell(page):
    shown = {}
    for key in CASES:
        page.click(f"button[data-case={key}]")
        page.wait_for_selector(f"button[data-case={key}][aria-pressed=true]")
        assert page.text_content("#story") == CASES[key].story
        shown[key] = {strategy: {name: value[0] for name, value in row.items()} for strategy, row in numbers(page).items()}
    assert shown["collapse"]["ema_distillation"]["force"] < 1e-30
    assert shown["persistence"]["tracer"]["force"] > 0.1 * shown["persistence"]["static_distillation"]["force"]
    assert shown["persistence"]["tracer"]["residual"] < 0.2 * shown["persistence"]["static_distillation"]["residual"]
    tuned = shown["tuned"]
    assert tuned["ema_distillation"]["residual"] == pytest.approx(tuned["tracer"]["residual"], rel=0.02)
    assert 1.8 < tuned["ema_distillation"]["impulse"] / tuned["tracer"]["impulse"] < 2.2
    share(page, {**CASES["tuned"].settings, "horizon": 1000, "shown": "tracer"})
    short = {strategy: row["residual"][0] for strategy, row in numbers(page).items()}
    assert short["ema_distillation"] > 0.8 * short["static_distillation"] > 2 * short["tracer"]
    page.click("button[data-case=decades]")
    page.wait_for_selector("button[data-case=decades][aria-pressed=true]")
    decades = numbers(page)
    assert decades["ema_distillation"]["half-life"][0] < 2e3
    assert decades["ema_distillation"]["half-life"][1] > 2e6
    assert decades["tracer"]["persistence"] == pytest.approx([0.263, 0], abs=1e-3)


def test_curves_have_the_strategies_colours(page):
    strokes = page.locator("#residual path.curve").evaluate_all("paths => paths.map(path => path.getAttribute('stroke'))")
    assert strokes == [LOOKS[name].color for name in ("flyp", "static_distillation", "ema_distillation", "tracer", "tracer")]


def test_arrow_keys_read_the_curves(page):
    share(page, {**PLAIN, "horizon": 100, "axis": "linear"})
    page.press("#force svg:not(.swatch)", "Home")
    assert page.text_content("#force .at") == page.text_content("#residual .at") == page.text_content("#forgotten .at") == "step 0"
    page.press("#force svg:not(.swatch)", "ArrowRight")
    assert page.text_content("#force .at") == "step 1"
    page.press("#force svg:not(.swatch)", "Escape")
    assert page.text_content("#force .at") == "step 100"


def test_curves_can_be_downloaded(browser, file):
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        page.goto(file.as_uri())
        with page.expect_download() as download:
            page.click("#download")
        assert download.value.suggested_filename == "explorer.csv"
        with open(download.value.path(), encoding="utf-8") as saved:
            assert saved.read() == page.evaluate("table()")


def test_making_the_page_needs_no_torch(tmp_path):
    """Which would take seconds to import, and most of a gigabyte."""
    told = (
        "import sys; from tracer.cli import main; code = main(sys.argv[1:]); sys.exit(code or any(m in sys.modules for m in HEAVY))"
    )
    code = told.replace("HEAVY", "('torch', 'matplotlib', 'scipy', 'pandas')")
    page = tmp_path / "explorer.html"
    assert subprocess.run([sys.executable, "-c", code, "explore", "--output", str(page)]).returncode == 0
    assert page.read_text(encoding="utf-8") == explorer.render()


def test_the_page_stands_alone():
    html = explorer.render()
    assert "http:" not in html
    assert "https:" not in html
    assert html.count("<script>") == html.count("</script>") == 1


@pytest.mark.parametrize("name", ["explorer.txt", "folder", "explorer.html/page.html"])
def test_places_that_cannot_be_written_are_refused(name, tmp_path, capsys):
    (tmp_path / "explorer.html").write_text("taken")
    assert main(["explore", "--output", str(tmp_path / name)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["explorer.html"]
