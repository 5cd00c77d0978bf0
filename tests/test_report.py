"""Reports: what the page says, shows and holds, compared with slow computations and with the result itself."""

from __future__ import annotations

import base64
import os
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from scenes import leaves
from scipy.signal import convolve2d
from skimage import data

from lsdeblur import LsdeblurWarning, Restoration, evaluate, psf, report, restore, simulate
from lsdeblur.report._case import case_of
from lsdeblur.report._charts import Axis, number
from lsdeblur.report._curves import curves_of
from lsdeblur.report._pictures import Tones, coloured, picture, plane
from lsdeblur.report._residual import Residual, residual_of
from lsdeblur.report._strip import Strip, strip_of, without_denoising
from lsdeblur.report._text import call_of, checks_of, measures_of

Array = npt.NDArray[Any]

BLUR = psf.motion(7, 20)
VOID = {"meta", "link", "img", "input", "br", "path", "rect", "circle", "image"}


def blurred(shape: tuple[int, int] = (70, 76), noise_std: float = 0.01, h: Array = BLUR) -> Array:
    return simulate.add_noise(simulate.blur(leaves(shape), h), noise_std=noise_std, rng=1)


class Page(HTMLParser):
    """A parsed page: its text, tags, ids and addresses; elements that are not closed in their order are an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open
        ids = self.all("id")
        assert len(ids) == len(set(ids))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.elements if name in attrs]

    def headings(self) -> list[str]:
        return [tag for tag, _ in self.elements if re.fullmatch("h[1-6]", tag)]


def page_of(result: Restoration, folder: Path, **options: Any) -> Page:
    path = report.write(result, folder / "report.html", **options)
    assert [p.name for p in folder.iterdir()] == ["report.html"]
    return Page(path.read_text(encoding="utf-8"))


def pixels(uri: str) -> Array:
    """The bytes of a data URI's picture, as OpenCV orders them."""
    code = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_UNCHANGED))


def looks(result: Restoration) -> list[str]:
    """What the report asks to be looked at."""
    case = case_of(result, None)
    found = checks_of(case, residual_of(without_denoising(case)))
    return [check.text for check in found if check.verdict == "look"]


def test_the_page_is_whole_and_loads_nothing(tmp_path: Path) -> None:
    page = page_of(restore(blurred(), BLUR), tmp_path)
    assert page.headings() == ["h1"] + ["h2"] * 6
    assert {a[:5] for a in page.all("src") + page.all("href")} == {"data:"}
    assert not [a for a in page.elements if a[0] == "img" and not a[1].get("alt")]
    assert all(text in page.text for text in ("Evidence", "Generalised cross-validation", "How to repeat it"))
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://(?!www\.w3\.org)", source)


@pytest.mark.parametrize(
    ("options", "without"),
    [
        ({"lam": 0.01}, "The rule"),
        ({"method": "wiener"}, "L-curve has"),
        ({"method": "richardson-lucy", "max_iter": 5}, "was given"),
        ({"method": "cgls"}, "The choice of λ"),
        ({"method": "inverse"}, "was given"),
        ({"lam": 0.0}, "Restored at"),
        ({"effort": "accurate"}, "was given"),
        ({"uncertainty": 3, "rng": 0}, "was given"),
        ({"boundary": "periodic"}, "was given"),
        ({"lam": "l-curve"}, "was given"),
    ],
)
def test_every_kind_of_result(options: dict[str, Any], without: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LsdeblurWarning)
        result = restore(blurred(), BLUR, **options)
    page = page_of(result, tmp_path)
    assert without not in page.text
    assert ("How certain it is" in page.text) == ("uncertainty" in options)
    assert "not finite" not in page.text


def test_a_blind_result_and_one_without_a_psf(tmp_path: Path) -> None:
    g = blurred((80, 80))
    found = Restoration(g + 0.1, psf.gaussian(1.0), "blind", lam=0.1, options={"then": "tikhonov"}, observed=g)
    page = page_of(found, tmp_path)
    assert "restore(blurred, method='blind', then='tikhonov')" in page.text
    assert "The blur was found in this image itself" in page.text
    bare = page_of(Restoration(g, None, "some method", observed=g), tmp_path)
    assert "used no point-spread function" in bare.text
    assert "transfer" not in bare.all("data-chart")


def test_colours_volumes_frames_and_varying_blur(tmp_path: Path) -> None:
    scene = np.stack([leaves((66, 70), seed) for seed in range(3)], axis=-1)
    g = simulate.add_noise(simulate.blur(scene, BLUR, channel_axis=2), noise_std=0.02, rng=0)
    page = page_of(restore(g, BLUR, channel_axis=2), tmp_path)
    assert "red, green and blue" in page.text
    assert "The first of 2 channels" in page_of(restore(g[..., :2], BLUR, channel_axis=2), tmp_path).text

    volume = np.random.default_rng(0).random((9, 14, 16))
    h = np.multiply.outer(np.array([0.25, 0.5, 0.25]), psf.gaussian(0.7))
    page = page_of(restore(volume, h, lam=0.1), tmp_path)
    assert "Of 9 planes the middle one, number 4" in page.text

    one, two = (simulate.add_noise(g[..., 0], noise_std=0.01, rng=k) for k in range(2))
    page = page_of(restore([one, two], [BLUR, BLUR], lam=0.01), tmp_path)
    assert "Of 2 frames the first" in page.text
    assert "restore([blurred_1, ...], [psf_1, ...], lam=0.01)" in page.text

    grid = psf.PSFGrid([psf.gaussian(1.0), psf.gaussian(1.5), psf.gaussian(2.0)], [(20, 10), (20, 50), (50, 30)])
    page = page_of(restore(one, grid, lam=0.01, exact=False), tmp_path)
    assert "3 of 3, at (row, column)" in page.text
    assert "psf = ... # PSFGrid(3 PSFs" in page.text


def test_a_tensor(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    g = torch.as_tensor(blurred().astype(np.float32))
    page = page_of(restore(g, BLUR, lam=0.01), tmp_path)
    assert f"observed {g.shape[0]} × {g.shape[1]} float32" in page.text


def test_a_loaded_result_needs_the_observed_image(tmp_path: Path) -> None:
    g = blurred()
    grid = psf.PSFGrid([BLUR, psf.gaussian(1.0)], [(10, 10), (80, 80)])
    restore(g, grid, lam=0.01, exact=False).save(tmp_path / "r.npz")
    loaded = Restoration.load(tmp_path / "r.npz")
    with pytest.raises(ValueError, match=r"no observed image.*observed="):
        report.write(loaded, tmp_path / "report.html")
    with pytest.raises(ValueError, match="observed has shape"):
        report.write(loaded, tmp_path / "report.html", observed=g[1:])
    (tmp_path / "r.npz").unlink()
    assert "Over the frame" in page_of(loaded, tmp_path, observed=g).text


def test_what_is_no_restoration(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="result must be a Restoration"):
        report.write(np.ones((4, 4)), tmp_path / "report.html")  # type: ignore[arg-type]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    result = Restoration(blurred(), BLUR, "tikhonov", observed=blurred())
    with pytest.raises(FileNotFoundError, match=r"path='.*report.html' lies in a folder that does not exist: make '"):
        report.write(result, tmp_path / "none" / "report.html")
    assert not list(tmp_path.iterdir())


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = restore(blurred(), BLUR, lam=0.01)
    target = report.write(result, str(tmp_path / "report.html"))
    assert target == tmp_path / "report.html"
    before = target.read_bytes()

    def full(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        report.write(result, target, title="another")
    assert target.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_no_number_vouches_for_a_blur_that_is_mirrored_or_was_found_here() -> None:
    skew = psf.combine(psf.motion(9, 20), np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.3]]) / 1.3)
    mirrored = "turned by 180 degrees"
    for h, said in ((skew, True), (psf.motion(9, 20), False), (psf.gaussian(1.5, size=14), False)):
        case = case_of(restore(blurred(), h, lam=0.01), None)
        assert any(mirrored in check.text for check in checks_of(case, residual_of(case))) == said
    case = case_of(Restoration(blurred(), BLUR, "blind", observed=blurred()), None)
    assert checks_of(case, residual_of(case))[0].verdict == "look"
    case = case_of(Restoration(blurred(), psf.gaussian(0.5), "blind", observed=blurred()), None)
    assert "hardly a blur (0.5" in checks_of(case, residual_of(case))[1].text


def test_pictures_of_8_bits_keep_their_tones(tmp_path: Path) -> None:
    eight = np.clip(255 * blurred(), 20, 230).astype(np.uint8)
    assert "black is 0, white 255, the range of 8 bits" in page_of(restore(eight, BLUR, lam=0.01), tmp_path).text
    assert "percentiles 0.5 and 99.5" in page_of(restore(blurred(), BLUR, lam=0.01), tmp_path).text


def test_text_of_the_caller_is_escaped(tmp_path: Path) -> None:
    evil = "</title></script><script>alert('1')</script>"
    g = blurred()
    result = Restoration(g, BLUR, evil, message=evil, lam=0.1, options={"name": evil}, observed=g)
    page = page_of(result, tmp_path, title=evil, command=evil)
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in source
    assert page.text.count("<script>alert") == 6  # title, heading, message, method, the code and the command


def test_both_pictures_are_on_the_scale_of_the_observed_one(tmp_path: Path) -> None:
    g = blurred()
    result = restore(g, BLUR, lam=0.01)
    page = page_of(result, tmp_path)
    low, high = np.percentile(g, (0.5, 99.5))
    for uri, image in zip(page.all("src"), (g, result.image), strict=False):
        expected = np.rint(255 * np.clip((image - low) / (high - low), 0, 1))
        np.testing.assert_allclose(pixels(uri), expected, atol=1)
    assert f"black is {number(low)}, white {number(high)}" in page.text


def test_masked_pixels_are_left_blank(tmp_path: Path) -> None:
    g = blurred()
    mask = np.zeros(g.shape, bool)
    mask[30:42, 50:60] = True
    g[mask] = np.nan
    result = restore(g, BLUR, mask=mask, lam=0.01)
    page = page_of(result, tmp_path)
    shown = pixels(page.all("src")[0])
    np.testing.assert_array_equal(shown[..., 3] == 0, mask)
    assert f"{100 * mask.mean():.2g} % of the pixels were not measured" in page.text
    saturated = restore(np.nan_to_num(g, nan=1.0), BLUR, saturation=0.99, lam=0.01)
    assert case_of(saturated, None).hidden[mask].all()


def test_large_pictures_are_reduced_and_stay_small() -> None:
    noise = np.random.default_rng(0).random((300, 500, 3))
    shown = picture(noise, Tones(0, 1), longest=400, heavy=200_000)
    assert (shown.width, shown.height) == (400, 240)
    assert shown.reduction == pytest.approx(500 / 400)
    assert not shown.lossless
    assert shown.uri.startswith("data:image/webp")
    assert len(shown.uri) < 0.6 * len(picture(noise, Tones(0, 1), longest=400).uri)
    decoded = pixels(shown.uri)[..., ::-1] / 255
    assert np.abs(decoded.mean(axis=(0, 1)) - noise.mean(axis=(0, 1))).max() < 0.01
    ramp = np.repeat(np.arange(8.0), 4)[None].repeat(32, axis=0)
    np.testing.assert_array_equal(pixels(picture(ramp, Tones(0, 7), longest=8).uri)[0], np.rint(255 * np.arange(8) / 7))


def test_planes_and_false_colours() -> None:
    a = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(plane(a), a[0, 1])
    assert plane(a[:, 0]).shape == (4, 5)
    shown = coloured(np.array([[0.0, 1.0]]), Tones(0, 1), "viridis", at_least=6)
    assert (shown.width, shown.height) == (6, 3)
    dark, bright = pixels(shown.uri)[0, [0, -1], ::-1]
    np.testing.assert_allclose(dark, (68, 1, 84), atol=2)  # the ends of viridis
    np.testing.assert_allclose(bright, (253, 231, 37), atol=2)


def test_the_residual_is_that_of_a_direct_convolution() -> None:
    g, h = blurred(), psf.motion(9, 50) + 0.01 * psf.motion(9, 50)[::-1]
    result = restore(g, h, lam=0.05)
    found = residual_of(case_of(result, None))
    assert isinstance(found, Residual)
    # convolve2d keeps the pixels for which the reversed PSF lies within the image, as in the definition
    up, side = ((s - 1 - s // 2, s // 2) for s in h.shape)
    inner = g[up[0] : g.shape[0] - up[1], side[0] : g.shape[1] - side[1]]
    r = inner - convolve2d(result.image, h, mode="valid")
    assert found.shape == r.shape
    assert found.rms == pytest.approx(np.sqrt(np.mean(r**2)), rel=1e-6)
    rows, columns = (r[1:] * r[:-1]).mean(), (r[:, 1:] * r[:, :-1]).mean()
    np.testing.assert_allclose(found.neighbours, np.array([rows, columns]) / np.mean(r**2), rtol=1e-6)


def test_white_noise_passes_and_a_wrong_blur_does_not() -> None:
    g = blurred((220, 240))
    assert looks(restore(g, BLUR, noise_std=0.01)) == []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LsdeblurWarning)
        wrong = looks(restore(g, psf.motion(3, 20), noise_std=0.01))
    assert any("more than noise" in text for text in wrong)


def test_what_cannot_be_shown_is_said() -> None:
    g = blurred()

    def of(result: Restoration) -> tuple[Any, Any]:
        case = case_of(result, None)
        return residual_of(case), strip_of(case, Tones(0, 1))

    residual, strip = of(restore(g, BLUR, lam=0.0))
    assert isinstance(residual, Residual)
    assert "none, or zero, was used" in strip
    assert "reaches over the whole frame" in of(Restoration(g, psf.gaussian(20.0, size=71), "tv", observed=g))[0]
    residual, strip = of(Restoration(g, psf.gaussian(8.0, size=61), "tv", lam=0.01, observed=g))
    assert "reaches over nearly the whole frame" in residual
    assert "for tikhonov and wiener only" in strip
    residual, strip = of(Restoration(g * np.nan, None, "tikhonov", lam=1.0, observed=g))
    assert "no point-spread function" in residual
    assert "one image of two spatial axes" in strip
    assert "not finite" in of(Restoration(g * np.nan, BLUR, "tv", observed=g))[0]
    rim = np.ones(g.shape, bool)
    rim[:1] = False
    assert "no pixel was measured" in of(Restoration(g, BLUR, "tv", observed=g, options={"mask": rim}))[0]


@pytest.mark.parametrize("name", ["camera", "coffee"])
@pytest.mark.parametrize(
    "options", [{}, {"denoise_after": "nlm"}, {"denoise_after": "tv"}, {"method": "tv"}, {"method": "wavelet"}]
)
def test_the_right_blur_raises_no_alarm(name: str, options: dict[str, Any]) -> None:
    picture = getattr(data, name)()[100:260, 200:360] / 255
    g = simulate.add_noise(
        simulate.blur(picture if picture.ndim == 2 else picture[..., 1], BLUR), noise_std=0.01, rng=0
    )
    assert looks(restore(g, BLUR, **options)) == []


def test_a_wrong_blur_shows_without_the_denoising(tmp_path: Path) -> None:
    g = blurred((220, 240))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LsdeblurWarning)
        wrong = restore(g, psf.motion(3, 20), noise_std=0.01, denoise_after="nlm")
    assert any("Without the denoising, the residual's spectrum" in text for text in looks(wrong))
    text = page_of(wrong, tmp_path).text
    assert all(look in text for look in looks(wrong))
    assert "denoised after the filter" in text


@pytest.mark.parametrize("boundary", ["free", "periodic"])
def test_without_denoising(boundary: str) -> None:
    """It is what the same call gives without the denoiser; channels, a mask and correlated noise belong to it."""
    g = np.stack([blurred(), blurred()[::-1]], axis=-1)
    mask = np.zeros(g.shape[:2], bool)
    mask[30:33, 40:44] = boundary == "free"
    options = {"channel_axis": 2, "mask": mask, "boundary": boundary, "penalty": "gradient", "noise_width": 0.6}
    options |= {"lam": 0.02, "noise_std": 0.01}
    if boundary != "free":
        options["mask"] = None
    result = restore(g, BLUR, denoise_after="tv", **options)
    filtered = without_denoising(case_of(result, None))
    plain = restore(g, BLUR, **options)
    np.testing.assert_allclose(np.moveaxis(filtered.restored, 0, 2), plain.image, atol=1e-5)
    assert np.abs(result.image - plain.image).max() > 1e-3
    assert without_denoising(filtered) is filtered


def test_a_learned_prior_gets_a_note_at_low_noise() -> None:
    pytest.importorskip("torch")
    h = psf.motion(11, 30)
    g = simulate.add_noise(simulate.blur(data.coffee()[80:336, 200:456, 1] / 255, h), noise_std=0.001, rng=0)
    case = case_of(restore(g, h, method="pnp"), None)
    found = checks_of(case, residual_of(case))
    assert not [check.text for check in found if check.verdict == "look"]
    assert any("A denoiser takes faint detail" in check.text for check in found if check.verdict == "note")


def test_measures_beyond_the_rest_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = restore(blurred(), BLUR, lam=0.01, noise_std=0.01)
    result.save(tmp_path / "r.npz")
    loaded = Restoration.load(tmp_path / "r.npz")
    (tmp_path / "r.npz").unlink()
    text = page_of(loaded, tmp_path, observed=blurred()).text
    found = evaluate(result)
    for name in ("residual_whiteness", "residual_correlation", "sharpness_observed", "sharpness"):
        assert f"{name} {number(found[name])} " in text
    assert "residual_ratio" not in text
    monkeypatch.setattr("lsdeblur.report._text.LARGEST", 60)
    assert measures_of(case_of(result, None)) == []


def test_wiener_damps_low_frequencies_and_that_is_said() -> None:
    found = looks(restore(blurred((220, 240)), BLUR, method="wiener"))
    assert any("constant noise-to-signal ratio" in text for text in found)


def test_the_expected_spectrum_is_met_where_the_model_holds() -> None:
    """A scene with the spectrum of the penalty: what is left has the power that is drawn as expected."""
    n, lam, noise_std = 192, 0.02, 0.01
    rng = np.random.default_rng(3)
    w = 2 * np.pi * np.fft.fftfreq(n)
    symbol = np.add.outer(2 - 2 * np.cos(w), 2 - 2 * np.cos(w))
    P = symbol**2 + 0.1 * symbol
    P[0, 0] = np.inf
    scene = np.fft.ifft2(np.fft.fft2(rng.standard_normal((n, n))) * noise_std / np.sqrt(lam * P)).real
    h = psf.gaussian(1.5)
    g = simulate.blur(scene, h, boundary="periodic") + noise_std * rng.standard_normal((n, n))
    result = restore(g, h, lam=lam, noise_std=noise_std, boundary="periodic")
    found = residual_of(case_of(result, None))
    assert isinstance(found, Residual)
    heights = {kind: np.array([float(p.split()[1]) for p in re.split("[ML]", d) if p]) for d, kind in found.chart.lines}
    y = found.chart.y
    decades = (heights["curve"] - heights["expected"]) / (y.end - y.start) * np.log10(y.high / y.low)
    assert np.abs(decades[4:]).max() < 0.15  # the lowest bands hold a few values each


def test_what_stays_undecided_is_said() -> None:
    g = blurred()
    result = restore(g, BLUR, lam=0.01)
    changed = Restoration(result.image, BLUR, "tv", converged=False, n_iter=9, noise_std=1.0, observed=g)
    found = looks(changed)
    assert any("Not converged after 9 iterations" in text for text in found)
    assert any("follows the noise" in text for text in found)
    hollow = np.where(np.arange(g.shape[1]) < 5, np.nan, result.image)
    assert any("not finite" in text for text in looks(Restoration(hollow, BLUR, "tikhonov", observed=g)))


def test_the_strip_restores_what_the_result_holds() -> None:
    result = restore(blurred(), BLUR)
    case = case_of(result, None)
    strip = strip_of(case, tones := Tones(0, 1))
    assert isinstance(strip, Strip)
    assert strip.lams[strip.used] == pytest.approx(result.lam)
    assert strip.lams[-1] / strip.lams[0] == pytest.approx(1e6)
    # the detail is the whole of so small an image, solved with the same lambda
    shown = pixels(strip.pictures[strip.used].uri).astype(float)
    expected = pixels(picture(result.image, tones, longest=512).uri).astype(float)
    assert np.abs(shown - expected).max() <= 1
    weak, strong = (pixels(strip.pictures[k].uri).astype(float) for k in (0, -1))
    assert np.abs(np.diff(weak)).mean() > 2 * np.abs(np.diff(strong)).mean()


def test_the_detail_is_where_the_edges_are() -> None:
    scene = np.full((600, 700), 0.5)
    scene[310:570, 420:690] = leaves((260, 270))
    strip = strip_of(case_of(restore(scene, psf.gaussian(1.0), lam=1e-3), None), Tones(0, 1))
    assert isinstance(strip, Strip)
    assert abs(strip.row - 312) < 8
    assert abs(strip.column - 427) < 12


def test_curves_are_marked_where_lambda_was_chosen() -> None:
    chosen = restore(blurred(), BLUR).selection
    assert chosen is not None
    curves = curves_of(chosen)
    at = curves.lams.index(chosen.lam)
    residual = np.sqrt(np.exp(np.interp(np.log(chosen.lam), np.log(chosen.lams), np.log(chosen.residual))))
    assert curves.labels[at] == number(chosen.lam)
    assert curves.readings[at].startswith(f"residual {number(residual)}, seminorm ")
    assert [name for _, name, _, used in curves.rules if used] == ["Evidence"]
    for chart in curves.charts:
        assert len(chart.points) == len(curves.lams)
        (ring,) = [m for m in chart.marks if m[3] == "used"] or [None]
        if ring:
            np.testing.assert_allclose(chart.points[at], ring[1:3], atol=1)
    evidence = next(c for c in curves.charts if c.key == "evidence")
    seen = [y for _, y in evidence.points if y is not None]
    assert max(seen) == pytest.approx(evidence.points[at][1], abs=0.5)  # pixels count downwards


@pytest.mark.parametrize("options", [{"lam": "gcv", "penalty": "gradient"}, {"method": "wiener", "nsr": 0.01}, {}])
def test_the_call_repeats_the_restoration(options: dict[str, Any]) -> None:
    g = blurred()
    mask = np.zeros(g.shape, bool)
    mask[3, 4:9] = True
    result = restore(g, BLUR, mask=mask, workers=1, **options)
    code = call_of(result, case_of(result, None))
    assert "channel_axis" not in code  # defaults are left out
    filled = re.sub(r"^(\w+) = \.\.\..*$", r"\1 = given['\1']", code, flags=re.MULTILINE)
    names: dict[str, Any] = {"given": {"blurred": g, "psf": result.psf, "mask": mask}}
    exec(filled, names)
    np.testing.assert_array_equal(names["result"].image, result.image)


def test_the_call_spells_the_numbers_of_numpy() -> None:
    g = blurred()
    strength = {"lam": np.float64(0.01), "noise_std": np.array(0.02), "max_iter": np.int64(7)}
    result = restore(g, BLUR, spacing=(np.float32(1), 2.0), **strength)
    code = call_of(result, case_of(result, None))
    assert "restore(blurred, psf, spacing=(1.0, 2.0), lam=0.01, noise_std=0.02, max_iter=7)" in " ".join(code.split())


def test_the_call_names_what_it_cannot_spell() -> None:
    g = blurred()
    result = Restoration(g, BLUR, "PlugAndPlay", options={"rng": np.random.default_rng(0), "lam": 0.5}, observed=g)
    code = call_of(result, case_of(result, None))
    assert "rng = ...  # Generator" in code
    assert "restore(blurred, psf, method=PlugAndPlay, rng=rng, lam=0.5)" in code


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.00938, "0.00938"), (1250.4, "1250"), (3.2e-7, "3.20 × 10⁻⁷"), (-2e9, "−2.00 × 10⁹"), (0.5, "0.500")],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("axis", "texts"),
    [
        (Axis("", 1e-6, 1e4, 0, 100, True), ["10⁻⁶", "10⁻⁴", "10⁻²", "10⁰", "10²", "10⁴"]),
        (Axis("", 0.8, 60, 0, 100, True), ["1", "2", "5", "10", "20", "50"]),
        (Axis("", 3.1, 3.9, 0, 100, True), ["3.2", "3.4", "3.6", "3.8"]),
        (Axis("", -1.1, 3, 0, 100), ["−1", "0", "1", "2", "3"]),
        (Axis("", 5.5, -5.5, 0, 100), ["−5", "0", "5"]),
    ],
)
def test_ticks(axis: Axis, texts: list[str]) -> None:
    ticks = axis.ticks
    assert [text for _, text in ticks] == texts
    assert all(0 <= at <= 100 for at, _ in ticks)


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, as WCAG 2 defines it."""
    c = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return float(np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722))


@pytest.mark.parametrize("scheme", [0, 1])
def test_contrast_in_light_and_dark(scheme: int) -> None:
    css = Path(report.__file__).with_name("page.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{([^}]*)\}", css)
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", blocks[scheme]))

    def contrast(a: str, b: str) -> float:
        bright, dark = sorted((luminance(colours[a]), luminance(colours[b])), reverse=True)
        return (bright + 0.05) / (dark + 0.05)

    for ink in ("ink", "quiet", "accent", "marked", "good", "alert"):
        assert contrast(ink, "paper") >= 4.5, ink
    assert contrast("ink", "raised") >= 4.5
    assert contrast("frame", "paper") >= 3
