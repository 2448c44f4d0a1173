"""Figures: each function draws on the axes that you pass, or on new axes, and returns the axes."""

from tlkit.plots.adaptation import class_gains, discriminator, domains
from tlkit.plots.curves import curves, trade_off
from tlkit.plots.explorer import explorer
from tlkit.plots.images import heatmap, images, overlay, top_classes
from tlkit.plots.learning_rate import learning_rate
from tlkit.plots.multi_task import gradient_cosines, task_weights
from tlkit.plots.networks import frozen
from tlkit.plots.overfitting import distance_from_start, gaps, reliability
from tlkit.plots.results import compare_arms, confusion, learning_curves, roc_and_precision_recall
from tlkit.plots.selection import pareto
from tlkit.plots.self_supervised import image_rows, neighbours, pretraining_curves, views
from tlkit.plots.similarity import similarity_embedding, similarity_map
from tlkit.plots.studies import differences, forecast
from tlkit.plots.style import PALETTE, arm_colors
from tlkit.plots.task_results import task_curves, task_gains, true_and_predicted
from tlkit.plots.taxonomy import taxonomy

__all__ = [
    "PALETTE",
    "arm_colors",
    "class_gains",
    "compare_arms",
    "confusion",
    "curves",
    "differences",
    "discriminator",
    "distance_from_start",
    "domains",
    "explorer",
    "forecast",
    "frozen",
    "gaps",
    "gradient_cosines",
    "heatmap",
    "image_rows",
    "images",
    "learning_curves",
    "learning_rate",
    "neighbours",
    "overlay",
    "pareto",
    "pretraining_curves",
    "reliability",
    "roc_and_precision_recall",
    "similarity_embedding",
    "similarity_map",
    "task_curves",
    "task_gains",
    "task_weights",
    "taxonomy",
    "top_classes",
    "trade_off",
    "true_and_predicted",
    "views",
]
