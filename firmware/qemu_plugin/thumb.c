/* SPDX-License-Identifier: Apache-2.0
 *
 * Decodes Thumb and Thumb-2 (Armv6-M, Armv7E-M, Armv8.1-M) as far as a timing model needs it. Source: the encodings in the
 * Architecture Reference Manuals DDI 0403 (Armv7-M) and DDI 0553 (Armv8-M). */
#include "thumb.h"

#include <stddef.h>
#include <string.h>

#define SP 13u
#define LR 14u
#define PC 15u
#define BIT(n) ((uint32_t)1u << (n))

/* The first pattern that fits is taken. `fields` is a string of pairs: what is done with a register (d: written, s: read,
 * a: read for an address), and where its number stands:
 *   16 bits   0 3 6 8: bits from there on, three of them; M: bits 6 to 3; H: bit 7 and bits 2 to 0
 *   32 bits   D: bits 11 to 8; N: 19 to 16; T: 15 to 12; m: 3 to 0; V Q R: vector registers at 13, 17 and 1
 *   both      S L: the stack pointer, the link register */
typedef struct {
    uint32_t mask;
    uint32_t value;
    enum instruction_class class;
    const char *fields;
    uint8_t access;
} pattern_t;

static const pattern_t narrow[] = {
    {0xfe00, 0x1800, CLASS_ALU, "d0s3s6", 0},             /* ADD register */
    {0xfe00, 0x1a00, CLASS_ALU, "d0s3s6", 0},             /* SUB register */
    {0xfc00, 0x1c00, CLASS_ALU, "d0s3", 0},               /* ADD, SUB 3-bit immediate */
    {0xffc0, 0x0000, CLASS_ALU, "d0s3", 0},               /* MOVS register */
    {0xe000, 0x0000, CLASS_SHIFT, "d0s3", 0},             /* shifts by an immediate */
    {0xf800, 0x2000, CLASS_ALU, "d8", 0},                 /* MOV immediate */
    {0xf800, 0x2800, CLASS_ALU, "s8", 0},                 /* CMP immediate */
    {0xf000, 0x3000, CLASS_ALU, "d8s8", 0},               /* ADD, SUB 8-bit immediate */
    {0xffc0, 0x4340, CLASS_MUL, "d0s0s3", 0},
    {0xffc0, 0x4080, CLASS_SHIFT, "d0s0s3", 0},           /* LSL register */
    {0xffc0, 0x40c0, CLASS_SHIFT, "d0s0s3", 0},           /* LSR */
    {0xffc0, 0x4100, CLASS_SHIFT, "d0s0s3", 0},           /* ASR */
    {0xffc0, 0x41c0, CLASS_SHIFT, "d0s0s3", 0},           /* ROR */
    {0xffc0, 0x4200, CLASS_ALU, "s0s3", 0},               /* TST */
    {0xff80, 0x4280, CLASS_ALU, "s0s3", 0},               /* CMP, CMN */
    {0xffc0, 0x4240, CLASS_ALU, "d0s3", 0},               /* RSB */
    {0xffc0, 0x43c0, CLASS_ALU, "d0s3", 0},               /* MVN */
    {0xfc00, 0x4000, CLASS_ALU, "d0s0s3", 0},
    {0xff87, 0x4487, CLASS_MOVE_PC, "sM", 0},             /* ADD PC, Rm */
    {0xff00, 0x4400, CLASS_ALU, "dHsHsM", 0},
    {0xff00, 0x4500, CLASS_ALU, "sHsM", 0},
    {0xff87, 0x4687, CLASS_MOVE_PC, "sM", 0},             /* MOV PC, Rm */
    {0xff00, 0x4600, CLASS_ALU, "dHsM", 0},
    {0xff80, 0x4700, CLASS_BRANCH_REGISTER, "sM", 0},
    {0xff80, 0x4780, CLASS_CALL_REGISTER, "sMdL", 0},
    {0xf800, 0x4800, CLASS_LOAD_LITERAL, "d8", 0},
    {0xfe00, 0x5000, CLASS_STORE_REGISTER, "s0a3a6", 4},
    {0xfe00, 0x5200, CLASS_STORE_REGISTER, "s0a3a6", 2},
    {0xfe00, 0x5400, CLASS_STORE_REGISTER, "s0a3a6", 1},
    {0xfe00, 0x5600, CLASS_LOAD, "d0a3a6", 1},            /* LDRSB */
    {0xfe00, 0x5800, CLASS_LOAD, "d0a3a6", 4},
    {0xfe00, 0x5a00, CLASS_LOAD, "d0a3a6", 2},
    {0xfe00, 0x5c00, CLASS_LOAD, "d0a3a6", 1},
    {0xfe00, 0x5e00, CLASS_LOAD, "d0a3a6", 2},            /* LDRSH */
    {0xf800, 0x6000, CLASS_STORE, "s0a3", 4},
    {0xf800, 0x6800, CLASS_LOAD, "d0a3", 4},
    {0xf800, 0x7000, CLASS_STORE, "s0a3", 1},
    {0xf800, 0x7800, CLASS_LOAD, "d0a3", 1},
    {0xf800, 0x8000, CLASS_STORE, "s0a3", 2},
    {0xf800, 0x8800, CLASS_LOAD, "d0a3", 2},
    {0xf800, 0x9000, CLASS_STORE, "s8aS", 4},
    {0xf800, 0x9800, CLASS_LOAD, "d8aS", 4},
    {0xf800, 0xa000, CLASS_ALU, "d8", 0},                 /* ADR */
    {0xf800, 0xa800, CLASS_ALU, "d8sS", 0},
    {0xff00, 0xb000, CLASS_ALU, "dSsS", 0},
    {0xf500, 0xb100, CLASS_COMPARE_BRANCH, "s0", 0},
    {0xff00, 0xb200, CLASS_EXTEND, "d0s3", 0},
    {0xff00, 0xba00, CLASS_SHIFT, "d0s3", 0},             /* REV, REV16, REVSH */
    {0xffe0, 0xb660, CLASS_SPECIAL, "", 0},               /* CPS */
    {0xff00, 0xbe00, CLASS_EXCEPTION, "", 0},             /* BKPT */
    {0xff0f, 0xbf00, CLASS_NOP, "", 0},                   /* hints */
    {0xff00, 0xbf00, CLASS_IF_THEN, "", 0},
    {0xfe00, 0xde00, CLASS_EXCEPTION, "", 0},             /* UDF, SVC */
    {0xf000, 0xd000, CLASS_BRANCH_CONDITIONAL, "", 0},
    {0xf800, 0xe000, CLASS_BRANCH, "", 0},
};

static const pattern_t wide[] = {
    {0xfff00000, 0xe8400000, CLASS_EXCLUSIVE, "dDsTaN", 0},    /* STREX */
    {0xfff00000, 0xe8500000, CLASS_EXCLUSIVE, "dTaN", 0},      /* LDREX */
    {0xfff0ffe0, 0xe8d0f000, CLASS_TABLE_BRANCH, "aNam", 0},   /* TBB, TBH */
    {0xfff00f00, 0xe8c00f00, CLASS_EXCLUSIVE, "sTaN", 0},      /* STREXB, STREXH, STL */
    {0xfff00f00, 0xe8d00f00, CLASS_EXCLUSIVE, "dTaN", 0},      /* LDREXB, LDREXH, LDA */
    {0xffffffff, 0xe97fe97f, CLASS_NOP, "", 0},                /* SG */
    {0xffe00000, 0xeac00000, CLASS_SIMD, "dDsNsm", 0},         /* PKHBT, PKHTB */
    {0xfe0070f0, 0xea000000, CLASS_ALU, "dDsNsm", 0},          /* operand without a shift */
    {0xfff08000, 0xea508000, CLASS_ALU, "dDsNsm", 0},          /* CSEL and its kin */
    {0xfe000000, 0xea000000, CLASS_SHIFT, "dDsNsm", 0},        /* shifted operand */
    {0xffeff001, 0xf00fc001, CLASS_LOOP_END, "", 0},           /* LE, LETP */
    {0xfffff001, 0xf02fc001, CLASS_LOOP_END, "", 0},           /* LE without a counter */
    {0xff80f001, 0xf000c001, CLASS_LOOP_START, "sNdL", 0},     /* WLS, WLSTP */
    {0xff80f001, 0xf000e001, CLASS_LOOP_START, "sNdL", 0},     /* DLS, DLSTP */
    {0xffe0d000, 0xf3808000, CLASS_SPECIAL, "sN", 0},          /* MSR */
    {0xffe0d000, 0xf3e08000, CLASS_SPECIAL, "dD", 0},          /* MRS */
    {0xffffff00, 0xf3af8000, CLASS_NOP, "", 0},                /* hints */
    {0xfffffff0, 0xf3bf8f20, CLASS_ALU, "", 0},                /* CLREX */
    {0xffffff00, 0xf3bf8f00, CLASS_BARRIER, "", 0},            /* DSB, DMB, ISB */
    {0xfff0f000, 0xf7f0a000, CLASS_EXCEPTION, "", 0},          /* UDF */
    {0xf800d000, 0xf0009000, CLASS_BRANCH, "", 0},             /* B, 25 bits */
    {0xf800d000, 0xf000d000, CLASS_CALL, "dL", 0},             /* BL */
    {0xf800d000, 0xf0008000, CLASS_BRANCH_CONDITIONAL, "", 0},
    {0xfbf08000, 0xf2400000, CLASS_ALU, "dD", 0},              /* MOVW */
    {0xfbf08000, 0xf2c00000, CLASS_ALU, "dDsD", 0},            /* MOVT */
    {0xfff08000, 0xf3400000, CLASS_SHIFT, "dDsN", 0},          /* SBFX */
    {0xfff08000, 0xf3600000, CLASS_SHIFT, "dDsNsD", 0},        /* BFI, BFC */
    {0xfff08000, 0xf3c00000, CLASS_SHIFT, "dDsN", 0},          /* UBFX */
    {0xff508000, 0xf3000000, CLASS_SATURATE, "dDsN", 0},       /* SSAT, USAT, SSAT16, USAT16 */
    {0xf8008000, 0xf0000000, CLASS_ALU, "dDsN", 0},            /* modified and plain immediates */
    {0xff80f0f0, 0xfa00f000, CLASS_SHIFT, "dDsNsm", 0},        /* shifts by a register */
    {0xff80f080, 0xfa00f080, CLASS_EXTEND, "dDsNsm", 0},       /* SXTB, UXTB16, SXTAH ... */
    {0xfff0f0f0, 0xfab0f080, CLASS_SHIFT, "dDsm", 0},          /* CLZ */
    {0xfff0f0c0, 0xfa90f080, CLASS_SHIFT, "dDsm", 0},          /* REV, RBIT ... */
    {0xfff0f0f0, 0xfaa0f080, CLASS_SIMD, "dDsNsm", 0},         /* SEL */
    {0xfff0f0c0, 0xfa80f080, CLASS_SATURATE, "dDsNsm", 0},     /* QADD, QDSUB ... */
    {0xff80f080, 0xfa80f000, CLASS_SIMD, "dDsNsm", 0},         /* SADD16, UQSUB8 ... */
    {0xfff0f0f0, 0xfb00f000, CLASS_MUL, "dDsNsm", 0},
    {0xfff000e0, 0xfb000000, CLASS_MLA, "dDsNsmsT", 0},        /* MLA, MLS */
    {0xff800000, 0xfb000000, CLASS_MUL_DSP, "dDsNsmsT", 0},    /* SMLAD, SMMLA, USADA8 ... */
    {0xfff0f0f0, 0xfb90f0f0, CLASS_DIVIDE, "dDsNsm", 0},       /* SDIV */
    {0xfff0f0f0, 0xfbb0f0f0, CLASS_DIVIDE, "dDsNsm", 0},       /* UDIV */
    {0xffd000f0, 0xfb800000, CLASS_MUL_LONG, "dTdDsNsm", 0},   /* SMULL, UMULL */
    {0xffd000f0, 0xfbc00000, CLASS_MLA_LONG, "dTdDsTsDsNsm", 0}, /* SMLAL, UMLAL */
    {0xfff000f0, 0xfbe00060, CLASS_MLA_LONG, "dTdDsTsDsNsm", 0}, /* UMAAL */
    {0xff800000, 0xfb800000, CLASS_MUL_DSP, "dTdDsTsDsNsm", 0},  /* SMLALD, SMLALBB ... */
};

static const char *const class_names[] = {
#define X(id, name, cause) #name,
    CLASSES(X)
#undef X
};

int thumb_class(const char *name)
{
    for (int i = 0; i < CLASS_COUNT; i++) {
        if (strcmp(name, class_names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static uint32_t field(uint32_t code, char where)
{
    switch (where) {
    case '0': return code & 7u;
    case '3': return (code >> 3) & 7u;
    case '6': return (code >> 6) & 7u;
    case '8': return (code >> 8) & 7u;
    case 'M': return (code >> 3) & 15u;
    case 'H': return (code & 7u) | ((code >> 4) & 8u);
    case 'D': return (code >> 8) & 15u;
    case 'N': return (code >> 16) & 15u;
    case 'T': return (code >> 12) & 15u;
    case 'm': return code & 15u;
    case 'V': return 16u + ((code >> 13) & 7u);
    case 'Q': return 16u + ((code >> 17) & 7u);
    case 'R': return 16u + ((code >> 1) & 7u);
    case 'S': return SP;
    default: return LR;
    }
}

static void set_fields(uint32_t code, const char *fields, instruction_t *out)
{
    for (const char *at = fields; *at != '\0'; at += 2) {
        const uint32_t bit = BIT(field(code, at[1]));
        if (at[0] == 'd') {
            out->writes |= bit;
        } else if (at[0] == 's') {
            out->reads |= bit;
        } else {
            out->address |= bit;
        }
    }
    /* In these places 15 stands for "none": compares, MUL, MOV. */
    out->writes &= ~BIT(PC);
    out->reads &= ~BIT(PC);
}

static int look_up(const pattern_t *patterns, size_t count, uint32_t code, instruction_t *out)
{
    for (size_t i = 0; i < count; i++) {
        if ((code & patterns[i].mask) == patterns[i].value) {
            out->class = (uint8_t)patterns[i].class;
            out->access = patterns[i].access;
            set_fields(code, patterns[i].fields, out);
            return 1;
        }
    }
    return 0;
}

static void multiple(uint32_t list, uint32_t base, int is_load, int writes_back, instruction_t *out)
{
    const int stack = base == SP && writes_back;
    out->count = (uint8_t)__builtin_popcount(list);
    out->address = BIT(base);
    out->loaded = is_load ? list & ~BIT(PC) : 0u;
    out->writes = out->loaded | (writes_back ? BIT(base) : 0u);
    out->reads = is_load ? 0u : list;
    if (!is_load) {
        out->class = stack ? CLASS_PUSH : CLASS_STORE_MULTIPLE;
    } else if ((list & BIT(PC)) != 0u) {
        out->class = stack ? CLASS_POP_PC : CLASS_LOAD_MULTIPLE_PC;
    } else {
        out->class = stack ? CLASS_POP : CLASS_LOAD_MULTIPLE;
    }
}

static void decode_narrow(uint32_t code, instruction_t *out)
{
    const uint32_t low = code & 0xffu;
    if ((code & 0xfe00u) == 0xb400u) {
        multiple(low | ((code & 0x100u) != 0u ? BIT(LR) : 0u), SP, 0, 1, out);
    } else if ((code & 0xfe00u) == 0xbc00u) {
        multiple(low | ((code & 0x100u) != 0u ? BIT(PC) : 0u), SP, 1, 1, out);
    } else if ((code & 0xf000u) == 0xc000u) {
        multiple(low, (code >> 8) & 7u, (code & 0x800u) != 0u, 1, out);
    } else if (look_up(narrow, sizeof narrow / sizeof *narrow, code, out) && out->class == CLASS_IF_THEN) {
        out->then = (uint8_t)(4 - __builtin_ctz(code & 15u));
    }
}

/* LDR, STR and their kin: 1111 100 x. */
static void decode_single(uint32_t code, instruction_t *out)
{
    const uint32_t base = field(code, 'N');
    const uint32_t data = field(code, 'T');
    const int is_load = (code & BIT(20)) != 0u;
    const int by_register = (code & BIT(23)) == 0u && (code & 0xfc0u) == 0u && base != PC;
    const int writes_back = (code & BIT(23)) == 0u && (code & 0x900u) == 0x900u && base != PC;
    out->access = (uint8_t)(1u << ((code >> 21) & 3u));
    out->address = BIT(base) | (by_register ? BIT(code & 15u) : 0u);
    out->writes = writes_back ? BIT(base) : 0u;
    if (!is_load) {
        out->class = by_register ? CLASS_STORE_REGISTER : CLASS_STORE;
        out->reads = BIT(data);
    } else if (data == PC && out->access != 4u) {
        out->class = CLASS_NOP; /* PLD, PLI */
    } else if (data == PC) {
        out->class = CLASS_LOAD_PC;
    } else {
        out->class = base == PC ? CLASS_LOAD_LITERAL : CLASS_LOAD;
        out->loaded = BIT(data);
        out->writes |= out->loaded;
    }
}

/* Coprocessors 8 to 15: floating point and Helium. */
static void decode_coprocessor(uint32_t code, instruction_t *out)
{
    const uint32_t top = code >> 24;
    const int vector = (code & 0xe00u) == 0xe00u;
    const int is_load = (code & BIT(20)) != 0u;
    const int memory = (top & 0xeeu) == 0xecu;
    if (memory && (code & 0x0fe00000u) == 0x0c400000u) {
        out->class = CLASS_FP; /* VMOV of two registers */
        set_fields(code, is_load ? "dTdN" : "sTsN", out);
    } else if (memory && vector) {
        out->class = is_load ? CLASS_VECTOR_LOAD : CLASS_VECTOR_STORE;
        set_fields(code, is_load ? "dVaN" : "sVaN", out);
    } else if (memory && (code & 0x01200000u) == 0x01000000u) {
        out->class = is_load ? CLASS_FP_LOAD : CLASS_FP_STORE;
        set_fields(code, "aN", out);
    } else if (memory) {
        out->class = is_load ? CLASS_FP_LOAD_MULTIPLE : CLASS_FP_STORE_MULTIPLE;
        out->count = (uint8_t)((code & 0x100u) != 0u ? (code & 0xffu) / 2u : code & 0xffu);
        set_fields(code, "aN", out);
    } else if (vector || (top & 0xefu) == 0xefu) {
        const int mac = vector && (code & 0x0f800000u) == 0x0e800000u; /* VMLADAV, VMLALDAV, VADDV */
        out->class = mac ? CLASS_VECTOR_MAC : CLASS_VECTOR;
        set_fields(code, mac ? "dTsTsQsR" : "dVsQsR", out);
    } else if ((code & 0x10u) == 0u) {
        const uint32_t kind = code & 0x00b00000u; /* VMLA, VNMLA, VFNMA, VFMA: 0, 1, 9, 10; VDIV: 8 */
        const int square_root = (code & 0x0fbf0fd0u) == 0x0eb10ac0u;
        const int mac = top == 0xeeu && (kind == 0u || kind == 0x100000u || kind == 0x900000u || kind == 0xa00000u);
        const int division = top == 0xeeu && (kind == 0x800000u || square_root);
        out->class = mac ? CLASS_FP_MAC : division ? CLASS_FP_DIVIDE : CLASS_FP;
    } else {
        out->class = CLASS_FP; /* VMOV, VMRS: between the register files */
        set_fields(code, is_load ? "dT" : "sT", out);
    }
}

static void decode_wide(uint32_t code, instruction_t *out)
{
    if ((code & 0xfe400000u) == 0xe8000000u) {
        multiple(code & 0xffffu, field(code, 'N'), (code & BIT(20)) != 0u, (code & BIT(21)) != 0u, out);
    } else if ((code & 0xfe000000u) == 0xf8000000u) {
        decode_single(code, out);
    } else if ((code & 0xec000000u) == 0xec000000u) {
        decode_coprocessor(code, out);
    } else if (!look_up(wide, sizeof wide / sizeof *wide, code, out) && (code & 0xfe400000u) == 0xe8400000u) {
        const int is_load = (code & BIT(20)) != 0u;
        out->class = is_load ? CLASS_LOAD_DOUBLE : CLASS_STORE_DOUBLE;
        out->count = 2;
        set_fields(code, is_load ? "dTdDaN" : "sTsDaN", out);
        out->loaded = out->writes;
        out->writes |= (code & BIT(21)) != 0u ? out->address : 0u;
    }
    if (out->class == CLASS_DIVIDE || out->class == CLASS_MUL_LONG || out->class == CLASS_MLA_LONG) {
        out->left = (uint8_t)field(code, 'N');
        out->right = (uint8_t)field(code, 'm');
        out->is_signed = (code & BIT(21)) == 0u;
    }
}

void thumb_decode(const uint8_t *code, instruction_t *instruction)
{
    const uint32_t first = (uint32_t)code[0] | (uint32_t)code[1] << 8;
    memset(instruction, 0, sizeof *instruction);
    instruction->size = first >= 0xe800u ? 4u : 2u;
    if (instruction->size == 4u) {
        decode_wide(first << 16 | (uint32_t)code[2] | (uint32_t)code[3] << 8, instruction);
    } else {
        decode_narrow(first, instruction);
    }
    if (instruction->loaded == 0u && instruction->class >= CLASS_LOAD && instruction->class <= CLASS_EXCLUSIVE) {
        instruction->loaded = instruction->writes; /* these forms write no base back */
    }
}
