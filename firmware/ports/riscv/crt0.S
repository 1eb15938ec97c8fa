/* SPDX-License-Identifier: Apache-2.0
 *
 * Reset and traps for RV32: QEMU's "virt" machine and RTL cores with the same map run the same file.
 *
 *   +0x000  reset of most cores            +0x080  reset of Ibex (boot address + 0x80)
 *   +0x100  trap vector                    +0x200  trap vector while optional CSRs are tried out
 *
 * Some cores want the vector aligned to 256 bytes, and some always use vectored mode: entry 0, exceptions, is the one used. */
    .section .text.start, "ax"
    .globl _start
    .option push
    .option norvc
    .option norelax
_start:
    j reset
    .org 0x80
    j reset
    .org 0x100
trap_vector:
    j trap
    .org 0x200
skip_vector:                    /* an instruction that this core lacks: go on behind it (CSR accesses are 4 bytes long) */
    csrr t1, mepc
    addi t1, t1, 4
    csrw mepc, t1
    mret
    .option pop

reset:
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la sp, __stack_top
    la t0, skip_vector
    csrw mtvec, t0
    csrw mcountinhibit, zero    /* CV32E40P resets with its counters stopped; VexRiscv lacks the register and traps */
    la t0, trap_vector
    csrw mtvec, t0

    la a0, __data_start
    la a1, __data_end
    la a2, __data_load
1:  bgeu a0, a1, 2f
    lw t0, 0(a2)
    sw t0, 0(a0)
    addi a0, a0, 4
    addi a2, a2, 4
    j 1b
2:  la a0, __bss_start
    la a1, __bss_end
3:  bgeu a0, a1, 4f
    sw zero, 0(a0)
    addi a0, a0, 4
    j 3b
4:  call bench_main
    call port_exit

trap:
    csrr a0, mcause
    csrr a1, mepc
    csrr a2, mtval
    mv a3, ra
    mv a4, sp
    la sp, __stack_top          /* the old stack may be what failed */
    call trap_report
