# SPDX-License-Identifier: Apache-2.0
"""One module per op; each lists its kernels in ``KERNELS``. `plinio_deploy.codegen.registry` finds them by itself."""
