# SPDX-License-Identifier: Apache-2.0
"""Calibration: layers and networks that are made up, measured on a target, and fitted.

``design`` says which layers, ``micro`` and ``networks`` build them, ``bench`` runs them, ``calibrate`` does it all,
``validate`` says how far off the result is, ``baselines`` how far off others are.
"""
