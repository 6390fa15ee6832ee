from __future__ import annotations

import math

import pytest

from mobilenets.errors import RecipeError, UnknownNameError
from mobilenets.keys import settings
from mobilenets.specs.families import BACKBONES
from mobilenets.training.recipe import Recipe, difference, with_overrides
from mobilenets.training.recipes import RECIPES, recipe


@pytest.mark.parametrize("name", RECIPES)
def test_json_gives_an_equal_recipe_back(name: str) -> None:
    assert Recipe.from_json(RECIPES[name].to_json()) == RECIPES[name]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_name_a_known_network(name: str) -> None:
    assert RECIPES[name].model in BACKBONES


def test_overrides_are_parsed_by_type() -> None:
    changed = with_overrides(
        Recipe(), ["learning_rate=1e-3", "epochs=12", "dihedral=yes", "optimizer=adamw", "flip-vertical=0.5"]
    )
    assert difference(changed, Recipe()) == {
        "learning_rate": 0.001,
        "epochs": 12,
        "dihedral": True,
        "optimizer": "adamw",
        "flip_vertical": 0.5,
    }


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("learning_rat=0.1", "did you mean 'learning_rate'"),
        ("learning_rate", "key=value"),
        ("learning_rate=fast", "not a number"),
        ("learning_rate=nan", "not between 0 and 1000"),
        ("epochs=2.5", "not a whole number"),
        ("epochs=0", "not between 1 and"),
        ("flip_horizontal=1.5", "not between 0 and 1"),
        ("dihedral=maybe", "not true or false"),
        ("optimizer=adam", "not one of sgd, rmsprop, adamw"),
        ("accumulate=5", "does not divide"),
        ("cached_features=true", "frozen backbone"),
        ("crop_scale_max=0.01", "above crop_scale_max"),
    ],
)
def test_wrong_overrides_are_refused(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        with_overrides(Recipe(), [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a recipe"),
        ("[]", "JSON object"),
        ('{"epoch": 3}', "did you mean 'epochs'"),
        ('{"epochs": "3"}', "needs a int"),
        ('{"learning_rate": true}', "needs a float"),
    ],
)
def test_json_that_is_no_recipe_is_refused(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.from_json(text)


def test_whole_numbers_are_floats_where_a_float_is_expected() -> None:
    assert Recipe.from_json('{"learning_rate": 1}').learning_rate == 1.0


def test_names_take_hyphens_and_underscores() -> None:
    assert recipe("scratch_small") is recipe("scratch-small") is RECIPES["scratch-small"]
    assert recipe("mobilenet-v3-large") is RECIPES["mobilenet_v3_large"]
    with pytest.raises(UnknownNameError, match="did you mean 'finetune'"):
        recipe("fine-tune")


def test_v2_has_the_figures_of_section_6_1() -> None:
    v2 = RECIPES["mobilenet_v2"]
    assert (v2.optimizer, v2.rmsprop_decay, v2.momentum, v2.weight_decay) == ("rmsprop", 0.9, 0.9, 4e-5)
    assert (v2.learning_rate, v2.schedule, v2.decay_factor, v2.decay_every_epochs, v2.batch) == (
        0.045,
        "exponential",
        0.98,
        1,
        96,
    )


def test_v3_has_the_figures_of_section_6_1_1() -> None:
    v3 = RECIPES["mobilenet_v3_large"]
    assert (v3.learning_rate, v3.batch, v3.decay_factor, v3.decay_every_epochs) == (0.1, 4096, 0.99, 3)
    assert (v3.weight_decay, v3.ema, v3.norm_momentum) == (1e-5, 0.9999, 0.01)
    assert v3.dropout is not None
    assert math.isclose(1 - v3.dropout, 0.8)


def test_v4_has_the_figures_of_table_10() -> None:
    # resolution, batch, peak lr, alpha, epochs, warm-up, weight decay, beta1, eps, EMA, l2,
    # dropout, stochastic depth, RandAugment prob, mixup/cutmix prob
    columns = {
        "conv_small": (224, 4096, 0.002, 0, 9600, 5, 0.01, 0.6, 1e-6, 0.9999, 1e-5, 0.3, 0, 0.5, None),
        "conv_medium": (256, 4096, 0.004, 0, 500, 5, 0.1, 0.9, 1e-7, 0, 0, 0.2, 0.075, 0.7, None),
        "hybrid_medium": (256, 16384, 0.016, 0, 500, 20, 0.1, 0.9, 1e-7, 0, 0, 0.2, 0.075, 0.7, None),
        "conv_large": (384, 16384, 0.004, 0, 500, 20, 0.2, 0.9, 1e-7, 0, 0, 0.2, 0.35, 1.0, 0.3),
        "hybrid_large": (384, 16384, 0.01, 0.001, 500, 20, 0.2, 0.9, 1e-7, 0, 0, 0.2, 0.35, 1.0, 0.3),
    }
    for name, column in columns.items():
        one = RECIPES[f"mobilenet_v4_{name}"]
        mixed = one.mix_probability if one.mixup_alpha else None
        found = (
            *(one.size, one.batch, one.learning_rate, one.cosine_floor, one.epochs, one.warmup_epochs, one.weight_decay),
            *(one.beta1, one.epsilon, one.ema, one.l2, one.dropout, one.stochastic_depth, one.rand_probability, mixed),
        )
        assert found == column, name
        assert (one.optimizer, one.beta2, one.label_smoothing, one.clip_norm) == ("adamw", 0.999, 0.1, 0)


def test_every_number_of_a_recipe_has_a_range() -> None:
    numbers = {setting.name for setting in settings(Recipe).values() if setting.kind in (int, float)}
    assert numbers == {setting.name for setting in settings(Recipe).values() if setting.between is not None}


@pytest.mark.parametrize(
    ("task", "values", "message"),
    [
        ("segment", {"scale_min": 3.0}, "scale_min=3.0 is above scale_max=2.0"),
        ("detect", {"anchor_scale_min": 0.99}, "above anchor_scale_max"),
        ("classify", {"mix_probability": 0.5}, "needs mixup_alpha or cutmix_alpha"),
        ("detect", {"dropout": 0.5}, "dropout=0.5 means nothing to the task detect"),
        ("detect", {"input_crop": 0.9}, "input_crop=0.9 means nothing to the task detect"),
        ("segment", {"input_crop": 0.9}, "input_crop=0.9 means nothing to the task segment"),
        ("classify", {"optimizer": "adamw", "momentum": 0.5}, "momentum=0.5 has no effect with optimizer=adamw"),
        ("classify", {"schedule": "poly", "cosine_floor": 0.1}, "cosine_floor=0.1 has no effect with schedule=poly"),
        ("classify", {"rand_layers": 3}, "rand_layers=3 has no effect with policy=none"),
        ("detect", {"focal_alpha": 0.5}, "focal_alpha=0.5 has no effect with focal_gamma=0.0"),
        ("classify", {"cached_features": True, "freeze_blocks": -1, "erase": 0.5}, "erase=0.5 changes images"),
        ("classify", {"epochs": "3"}, "needs a int"),
        ("classify", {"epochs": True}, "needs a int"),
    ],
)
def test_keys_without_effect_and_limits_that_cross_are_refused(task: str, values: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe(task=task, **values)  # type: ignore[arg-type]  # keys of a recipe by name


def test_an_override_takes_back_what_loses_its_effect_but_not_what_is_set_beside_it() -> None:
    changed = with_overrides(RECIPES["finetune"], ["schedule=constant"])
    assert (changed.schedule, changed.cosine_floor) == ("constant", 0.0)
    with pytest.raises(RecipeError, match=r"cosine_floor=0.1 has no effect with schedule=constant"):
        with_overrides(RECIPES["finetune"], ["schedule=constant", "cosine_floor=0.1"])


def test_none_gives_a_key_back_to_the_model() -> None:
    assert with_overrides(RECIPES["finetune"], ["dropout=none"]).dropout is None
