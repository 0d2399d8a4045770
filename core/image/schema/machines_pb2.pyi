from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class user_arm_regs_entry(_message.Message):
    __slots__ = ("r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "fp", "ip", "sp", "lr", "pc", "cpsr", "orig_r0")
    R0_FIELD_NUMBER: _ClassVar[int]
    R1_FIELD_NUMBER: _ClassVar[int]
    R2_FIELD_NUMBER: _ClassVar[int]
    R3_FIELD_NUMBER: _ClassVar[int]
    R4_FIELD_NUMBER: _ClassVar[int]
    R5_FIELD_NUMBER: _ClassVar[int]
    R6_FIELD_NUMBER: _ClassVar[int]
    R7_FIELD_NUMBER: _ClassVar[int]
    R8_FIELD_NUMBER: _ClassVar[int]
    R9_FIELD_NUMBER: _ClassVar[int]
    R10_FIELD_NUMBER: _ClassVar[int]
    FP_FIELD_NUMBER: _ClassVar[int]
    IP_FIELD_NUMBER: _ClassVar[int]
    SP_FIELD_NUMBER: _ClassVar[int]
    LR_FIELD_NUMBER: _ClassVar[int]
    PC_FIELD_NUMBER: _ClassVar[int]
    CPSR_FIELD_NUMBER: _ClassVar[int]
    ORIG_R0_FIELD_NUMBER: _ClassVar[int]
    r0: int
    r1: int
    r2: int
    r3: int
    r4: int
    r5: int
    r6: int
    r7: int
    r8: int
    r9: int
    r10: int
    fp: int
    ip: int
    sp: int
    lr: int
    pc: int
    cpsr: int
    orig_r0: int
    def __init__(self, r0: _Optional[int] = ..., r1: _Optional[int] = ..., r2: _Optional[int] = ..., r3: _Optional[int] = ..., r4: _Optional[int] = ..., r5: _Optional[int] = ..., r6: _Optional[int] = ..., r7: _Optional[int] = ..., r8: _Optional[int] = ..., r9: _Optional[int] = ..., r10: _Optional[int] = ..., fp: _Optional[int] = ..., ip: _Optional[int] = ..., sp: _Optional[int] = ..., lr: _Optional[int] = ..., pc: _Optional[int] = ..., cpsr: _Optional[int] = ..., orig_r0: _Optional[int] = ...) -> None: ...

class user_arm_vfpstate_entry(_message.Message):
    __slots__ = ("vfp_regs", "fpscr", "fpexc", "fpinst", "fpinst2")
    VFP_REGS_FIELD_NUMBER: _ClassVar[int]
    FPSCR_FIELD_NUMBER: _ClassVar[int]
    FPEXC_FIELD_NUMBER: _ClassVar[int]
    FPINST_FIELD_NUMBER: _ClassVar[int]
    FPINST2_FIELD_NUMBER: _ClassVar[int]
    vfp_regs: _containers.RepeatedScalarFieldContainer[int]
    fpscr: int
    fpexc: int
    fpinst: int
    fpinst2: int
    def __init__(self, vfp_regs: _Optional[_Iterable[int]] = ..., fpscr: _Optional[int] = ..., fpexc: _Optional[int] = ..., fpinst: _Optional[int] = ..., fpinst2: _Optional[int] = ...) -> None: ...

class thread_info_arm(_message.Message):
    __slots__ = ("clear_tid_addr", "tls", "gpregs", "fpstate")
    CLEAR_TID_ADDR_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    GPREGS_FIELD_NUMBER: _ClassVar[int]
    FPSTATE_FIELD_NUMBER: _ClassVar[int]
    clear_tid_addr: int
    tls: int
    gpregs: user_arm_regs_entry
    fpstate: user_arm_vfpstate_entry
    def __init__(self, clear_tid_addr: _Optional[int] = ..., tls: _Optional[int] = ..., gpregs: _Optional[_Union[user_arm_regs_entry, _Mapping[str, object]]] = ..., fpstate: _Optional[_Union[user_arm_vfpstate_entry, _Mapping[str, object]]] = ...) -> None: ...

class user_ppc64_regs_entry(_message.Message):
    __slots__ = ("gpr", "nip", "msr", "orig_gpr3", "ctr", "link", "xer", "ccr", "trap", "texasr", "tfhar", "tfiar")
    GPR_FIELD_NUMBER: _ClassVar[int]
    NIP_FIELD_NUMBER: _ClassVar[int]
    MSR_FIELD_NUMBER: _ClassVar[int]
    ORIG_GPR3_FIELD_NUMBER: _ClassVar[int]
    CTR_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    XER_FIELD_NUMBER: _ClassVar[int]
    CCR_FIELD_NUMBER: _ClassVar[int]
    TRAP_FIELD_NUMBER: _ClassVar[int]
    TEXASR_FIELD_NUMBER: _ClassVar[int]
    TFHAR_FIELD_NUMBER: _ClassVar[int]
    TFIAR_FIELD_NUMBER: _ClassVar[int]
    gpr: _containers.RepeatedScalarFieldContainer[int]
    nip: int
    msr: int
    orig_gpr3: int
    ctr: int
    link: int
    xer: int
    ccr: int
    trap: int
    texasr: int
    tfhar: int
    tfiar: int
    def __init__(self, gpr: _Optional[_Iterable[int]] = ..., nip: _Optional[int] = ..., msr: _Optional[int] = ..., orig_gpr3: _Optional[int] = ..., ctr: _Optional[int] = ..., link: _Optional[int] = ..., xer: _Optional[int] = ..., ccr: _Optional[int] = ..., trap: _Optional[int] = ..., texasr: _Optional[int] = ..., tfhar: _Optional[int] = ..., tfiar: _Optional[int] = ...) -> None: ...

class user_ppc64_fpstate_entry(_message.Message):
    __slots__ = ("fpregs",)
    FPREGS_FIELD_NUMBER: _ClassVar[int]
    fpregs: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, fpregs: _Optional[_Iterable[int]] = ...) -> None: ...

class user_ppc64_vrstate_entry(_message.Message):
    __slots__ = ("vrregs", "vrsave")
    VRREGS_FIELD_NUMBER: _ClassVar[int]
    VRSAVE_FIELD_NUMBER: _ClassVar[int]
    vrregs: _containers.RepeatedScalarFieldContainer[int]
    vrsave: int
    def __init__(self, vrregs: _Optional[_Iterable[int]] = ..., vrsave: _Optional[int] = ...) -> None: ...

class user_ppc64_vsxstate_entry(_message.Message):
    __slots__ = ("vsxregs",)
    VSXREGS_FIELD_NUMBER: _ClassVar[int]
    vsxregs: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, vsxregs: _Optional[_Iterable[int]] = ...) -> None: ...

class user_ppc64_tm_regs_entry(_message.Message):
    __slots__ = ("gpregs", "fpstate", "vrstate", "vsxstate")
    GPREGS_FIELD_NUMBER: _ClassVar[int]
    FPSTATE_FIELD_NUMBER: _ClassVar[int]
    VRSTATE_FIELD_NUMBER: _ClassVar[int]
    VSXSTATE_FIELD_NUMBER: _ClassVar[int]
    gpregs: user_ppc64_regs_entry
    fpstate: user_ppc64_fpstate_entry
    vrstate: user_ppc64_vrstate_entry
    vsxstate: user_ppc64_vsxstate_entry
    def __init__(self, gpregs: _Optional[_Union[user_ppc64_regs_entry, _Mapping[str, object]]] = ..., fpstate: _Optional[_Union[user_ppc64_fpstate_entry, _Mapping[str, object]]] = ..., vrstate: _Optional[_Union[user_ppc64_vrstate_entry, _Mapping[str, object]]] = ..., vsxstate: _Optional[_Union[user_ppc64_vsxstate_entry, _Mapping[str, object]]] = ...) -> None: ...

class thread_info_ppc64(_message.Message):
    __slots__ = ("clear_tid_addr", "gpregs", "fpstate", "vrstate", "vsxstate", "tmstate")
    CLEAR_TID_ADDR_FIELD_NUMBER: _ClassVar[int]
    GPREGS_FIELD_NUMBER: _ClassVar[int]
    FPSTATE_FIELD_NUMBER: _ClassVar[int]
    VRSTATE_FIELD_NUMBER: _ClassVar[int]
    VSXSTATE_FIELD_NUMBER: _ClassVar[int]
    TMSTATE_FIELD_NUMBER: _ClassVar[int]
    clear_tid_addr: int
    gpregs: user_ppc64_regs_entry
    fpstate: user_ppc64_fpstate_entry
    vrstate: user_ppc64_vrstate_entry
    vsxstate: user_ppc64_vsxstate_entry
    tmstate: user_ppc64_tm_regs_entry
    def __init__(self, clear_tid_addr: _Optional[int] = ..., gpregs: _Optional[_Union[user_ppc64_regs_entry, _Mapping[str, object]]] = ..., fpstate: _Optional[_Union[user_ppc64_fpstate_entry, _Mapping[str, object]]] = ..., vrstate: _Optional[_Union[user_ppc64_vrstate_entry, _Mapping[str, object]]] = ..., vsxstate: _Optional[_Union[user_ppc64_vsxstate_entry, _Mapping[str, object]]] = ..., tmstate: _Optional[_Union[user_ppc64_tm_regs_entry, _Mapping[str, object]]] = ...) -> None: ...

class user_s390_regs_entry(_message.Message):
    __slots__ = ("psw_mask", "psw_addr", "gprs", "acrs", "orig_gpr2", "system_call")
    PSW_MASK_FIELD_NUMBER: _ClassVar[int]
    PSW_ADDR_FIELD_NUMBER: _ClassVar[int]
    GPRS_FIELD_NUMBER: _ClassVar[int]
    ACRS_FIELD_NUMBER: _ClassVar[int]
    ORIG_GPR2_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_CALL_FIELD_NUMBER: _ClassVar[int]
    psw_mask: int
    psw_addr: int
    gprs: _containers.RepeatedScalarFieldContainer[int]
    acrs: _containers.RepeatedScalarFieldContainer[int]
    orig_gpr2: int
    system_call: int
    def __init__(self, psw_mask: _Optional[int] = ..., psw_addr: _Optional[int] = ..., gprs: _Optional[_Iterable[int]] = ..., acrs: _Optional[_Iterable[int]] = ..., orig_gpr2: _Optional[int] = ..., system_call: _Optional[int] = ...) -> None: ...

class user_s390_vxrs_low_entry(_message.Message):
    __slots__ = ("regs",)
    REGS_FIELD_NUMBER: _ClassVar[int]
    regs: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, regs: _Optional[_Iterable[int]] = ...) -> None: ...

class user_s390_vxrs_high_entry(_message.Message):
    __slots__ = ("regs",)
    REGS_FIELD_NUMBER: _ClassVar[int]
    regs: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, regs: _Optional[_Iterable[int]] = ...) -> None: ...

class user_s390_fpregs_entry(_message.Message):
    __slots__ = ("fpc", "fprs")
    FPC_FIELD_NUMBER: _ClassVar[int]
    FPRS_FIELD_NUMBER: _ClassVar[int]
    fpc: int
    fprs: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, fpc: _Optional[int] = ..., fprs: _Optional[_Iterable[int]] = ...) -> None: ...

class user_s390_gs_cb_entry(_message.Message):
    __slots__ = ("regs",)
    REGS_FIELD_NUMBER: _ClassVar[int]
    regs: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, regs: _Optional[_Iterable[int]] = ...) -> None: ...

class user_s390_ri_entry(_message.Message):
    __slots__ = ("ri_on", "regs")
    RI_ON_FIELD_NUMBER: _ClassVar[int]
    REGS_FIELD_NUMBER: _ClassVar[int]
    ri_on: int
    regs: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, ri_on: _Optional[int] = ..., regs: _Optional[_Iterable[int]] = ...) -> None: ...

class thread_info_s390(_message.Message):
    __slots__ = ("clear_tid_addr", "gpregs", "fpregs", "vxrs_low", "vxrs_high", "gs_cb", "gs_bc", "ri_cb")
    CLEAR_TID_ADDR_FIELD_NUMBER: _ClassVar[int]
    GPREGS_FIELD_NUMBER: _ClassVar[int]
    FPREGS_FIELD_NUMBER: _ClassVar[int]
    VXRS_LOW_FIELD_NUMBER: _ClassVar[int]
    VXRS_HIGH_FIELD_NUMBER: _ClassVar[int]
    GS_CB_FIELD_NUMBER: _ClassVar[int]
    GS_BC_FIELD_NUMBER: _ClassVar[int]
    RI_CB_FIELD_NUMBER: _ClassVar[int]
    clear_tid_addr: int
    gpregs: user_s390_regs_entry
    fpregs: user_s390_fpregs_entry
    vxrs_low: user_s390_vxrs_low_entry
    vxrs_high: user_s390_vxrs_high_entry
    gs_cb: user_s390_gs_cb_entry
    gs_bc: user_s390_gs_cb_entry
    ri_cb: user_s390_ri_entry
    def __init__(self, clear_tid_addr: _Optional[int] = ..., gpregs: _Optional[_Union[user_s390_regs_entry, _Mapping[str, object]]] = ..., fpregs: _Optional[_Union[user_s390_fpregs_entry, _Mapping[str, object]]] = ..., vxrs_low: _Optional[_Union[user_s390_vxrs_low_entry, _Mapping[str, object]]] = ..., vxrs_high: _Optional[_Union[user_s390_vxrs_high_entry, _Mapping[str, object]]] = ..., gs_cb: _Optional[_Union[user_s390_gs_cb_entry, _Mapping[str, object]]] = ..., gs_bc: _Optional[_Union[user_s390_gs_cb_entry, _Mapping[str, object]]] = ..., ri_cb: _Optional[_Union[user_s390_ri_entry, _Mapping[str, object]]] = ...) -> None: ...

class user_mips_regs_entry(_message.Message):
    __slots__ = ("r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23", "r24", "r25", "r26", "r27", "r28", "r29", "r30", "r31", "lo", "hi", "cp0_epc", "cp0_badvaddr", "cp0_status", "cp0_cause")
    R0_FIELD_NUMBER: _ClassVar[int]
    R1_FIELD_NUMBER: _ClassVar[int]
    R2_FIELD_NUMBER: _ClassVar[int]
    R3_FIELD_NUMBER: _ClassVar[int]
    R4_FIELD_NUMBER: _ClassVar[int]
    R5_FIELD_NUMBER: _ClassVar[int]
    R6_FIELD_NUMBER: _ClassVar[int]
    R7_FIELD_NUMBER: _ClassVar[int]
    R8_FIELD_NUMBER: _ClassVar[int]
    R9_FIELD_NUMBER: _ClassVar[int]
    R10_FIELD_NUMBER: _ClassVar[int]
    R11_FIELD_NUMBER: _ClassVar[int]
    R12_FIELD_NUMBER: _ClassVar[int]
    R13_FIELD_NUMBER: _ClassVar[int]
    R14_FIELD_NUMBER: _ClassVar[int]
    R15_FIELD_NUMBER: _ClassVar[int]
    R16_FIELD_NUMBER: _ClassVar[int]
    R17_FIELD_NUMBER: _ClassVar[int]
    R18_FIELD_NUMBER: _ClassVar[int]
    R19_FIELD_NUMBER: _ClassVar[int]
    R20_FIELD_NUMBER: _ClassVar[int]
    R21_FIELD_NUMBER: _ClassVar[int]
    R22_FIELD_NUMBER: _ClassVar[int]
    R23_FIELD_NUMBER: _ClassVar[int]
    R24_FIELD_NUMBER: _ClassVar[int]
    R25_FIELD_NUMBER: _ClassVar[int]
    R26_FIELD_NUMBER: _ClassVar[int]
    R27_FIELD_NUMBER: _ClassVar[int]
    R28_FIELD_NUMBER: _ClassVar[int]
    R29_FIELD_NUMBER: _ClassVar[int]
    R30_FIELD_NUMBER: _ClassVar[int]
    R31_FIELD_NUMBER: _ClassVar[int]
    LO_FIELD_NUMBER: _ClassVar[int]
    HI_FIELD_NUMBER: _ClassVar[int]
    CP0_EPC_FIELD_NUMBER: _ClassVar[int]
    CP0_BADVADDR_FIELD_NUMBER: _ClassVar[int]
    CP0_STATUS_FIELD_NUMBER: _ClassVar[int]
    CP0_CAUSE_FIELD_NUMBER: _ClassVar[int]
    r0: int
    r1: int
    r2: int
    r3: int
    r4: int
    r5: int
    r6: int
    r7: int
    r8: int
    r9: int
    r10: int
    r11: int
    r12: int
    r13: int
    r14: int
    r15: int
    r16: int
    r17: int
    r18: int
    r19: int
    r20: int
    r21: int
    r22: int
    r23: int
    r24: int
    r25: int
    r26: int
    r27: int
    r28: int
    r29: int
    r30: int
    r31: int
    lo: int
    hi: int
    cp0_epc: int
    cp0_badvaddr: int
    cp0_status: int
    cp0_cause: int
    def __init__(self, r0: _Optional[int] = ..., r1: _Optional[int] = ..., r2: _Optional[int] = ..., r3: _Optional[int] = ..., r4: _Optional[int] = ..., r5: _Optional[int] = ..., r6: _Optional[int] = ..., r7: _Optional[int] = ..., r8: _Optional[int] = ..., r9: _Optional[int] = ..., r10: _Optional[int] = ..., r11: _Optional[int] = ..., r12: _Optional[int] = ..., r13: _Optional[int] = ..., r14: _Optional[int] = ..., r15: _Optional[int] = ..., r16: _Optional[int] = ..., r17: _Optional[int] = ..., r18: _Optional[int] = ..., r19: _Optional[int] = ..., r20: _Optional[int] = ..., r21: _Optional[int] = ..., r22: _Optional[int] = ..., r23: _Optional[int] = ..., r24: _Optional[int] = ..., r25: _Optional[int] = ..., r26: _Optional[int] = ..., r27: _Optional[int] = ..., r28: _Optional[int] = ..., r29: _Optional[int] = ..., r30: _Optional[int] = ..., r31: _Optional[int] = ..., lo: _Optional[int] = ..., hi: _Optional[int] = ..., cp0_epc: _Optional[int] = ..., cp0_badvaddr: _Optional[int] = ..., cp0_status: _Optional[int] = ..., cp0_cause: _Optional[int] = ...) -> None: ...

class user_mips_fpregs_entry(_message.Message):
    __slots__ = ("r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23", "r24", "r25", "r26", "r27", "r28", "r29", "r30", "r31", "lo", "hi", "fpu_fcr31", "fpu_id")
    R0_FIELD_NUMBER: _ClassVar[int]
    R1_FIELD_NUMBER: _ClassVar[int]
    R2_FIELD_NUMBER: _ClassVar[int]
    R3_FIELD_NUMBER: _ClassVar[int]
    R4_FIELD_NUMBER: _ClassVar[int]
    R5_FIELD_NUMBER: _ClassVar[int]
    R6_FIELD_NUMBER: _ClassVar[int]
    R7_FIELD_NUMBER: _ClassVar[int]
    R8_FIELD_NUMBER: _ClassVar[int]
    R9_FIELD_NUMBER: _ClassVar[int]
    R10_FIELD_NUMBER: _ClassVar[int]
    R11_FIELD_NUMBER: _ClassVar[int]
    R12_FIELD_NUMBER: _ClassVar[int]
    R13_FIELD_NUMBER: _ClassVar[int]
    R14_FIELD_NUMBER: _ClassVar[int]
    R15_FIELD_NUMBER: _ClassVar[int]
    R16_FIELD_NUMBER: _ClassVar[int]
    R17_FIELD_NUMBER: _ClassVar[int]
    R18_FIELD_NUMBER: _ClassVar[int]
    R19_FIELD_NUMBER: _ClassVar[int]
    R20_FIELD_NUMBER: _ClassVar[int]
    R21_FIELD_NUMBER: _ClassVar[int]
    R22_FIELD_NUMBER: _ClassVar[int]
    R23_FIELD_NUMBER: _ClassVar[int]
    R24_FIELD_NUMBER: _ClassVar[int]
    R25_FIELD_NUMBER: _ClassVar[int]
    R26_FIELD_NUMBER: _ClassVar[int]
    R27_FIELD_NUMBER: _ClassVar[int]
    R28_FIELD_NUMBER: _ClassVar[int]
    R29_FIELD_NUMBER: _ClassVar[int]
    R30_FIELD_NUMBER: _ClassVar[int]
    R31_FIELD_NUMBER: _ClassVar[int]
    LO_FIELD_NUMBER: _ClassVar[int]
    HI_FIELD_NUMBER: _ClassVar[int]
    FPU_FCR31_FIELD_NUMBER: _ClassVar[int]
    FPU_ID_FIELD_NUMBER: _ClassVar[int]
    r0: int
    r1: int
    r2: int
    r3: int
    r4: int
    r5: int
    r6: int
    r7: int
    r8: int
    r9: int
    r10: int
    r11: int
    r12: int
    r13: int
    r14: int
    r15: int
    r16: int
    r17: int
    r18: int
    r19: int
    r20: int
    r21: int
    r22: int
    r23: int
    r24: int
    r25: int
    r26: int
    r27: int
    r28: int
    r29: int
    r30: int
    r31: int
    lo: int
    hi: int
    fpu_fcr31: int
    fpu_id: int
    def __init__(self, r0: _Optional[int] = ..., r1: _Optional[int] = ..., r2: _Optional[int] = ..., r3: _Optional[int] = ..., r4: _Optional[int] = ..., r5: _Optional[int] = ..., r6: _Optional[int] = ..., r7: _Optional[int] = ..., r8: _Optional[int] = ..., r9: _Optional[int] = ..., r10: _Optional[int] = ..., r11: _Optional[int] = ..., r12: _Optional[int] = ..., r13: _Optional[int] = ..., r14: _Optional[int] = ..., r15: _Optional[int] = ..., r16: _Optional[int] = ..., r17: _Optional[int] = ..., r18: _Optional[int] = ..., r19: _Optional[int] = ..., r20: _Optional[int] = ..., r21: _Optional[int] = ..., r22: _Optional[int] = ..., r23: _Optional[int] = ..., r24: _Optional[int] = ..., r25: _Optional[int] = ..., r26: _Optional[int] = ..., r27: _Optional[int] = ..., r28: _Optional[int] = ..., r29: _Optional[int] = ..., r30: _Optional[int] = ..., r31: _Optional[int] = ..., lo: _Optional[int] = ..., hi: _Optional[int] = ..., fpu_fcr31: _Optional[int] = ..., fpu_id: _Optional[int] = ...) -> None: ...

class thread_info_mips(_message.Message):
    __slots__ = ("clear_tid_addr", "tls", "gpregs", "fpregs")
    CLEAR_TID_ADDR_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    GPREGS_FIELD_NUMBER: _ClassVar[int]
    FPREGS_FIELD_NUMBER: _ClassVar[int]
    clear_tid_addr: int
    tls: int
    gpregs: user_mips_regs_entry
    fpregs: user_mips_fpregs_entry
    def __init__(self, clear_tid_addr: _Optional[int] = ..., tls: _Optional[int] = ..., gpregs: _Optional[_Union[user_mips_regs_entry, _Mapping[str, object]]] = ..., fpregs: _Optional[_Union[user_mips_fpregs_entry, _Mapping[str, object]]] = ...) -> None: ...

class user_loongarch64_gpregs_entry(_message.Message):
    __slots__ = ("regs", "pc")
    REGS_FIELD_NUMBER: _ClassVar[int]
    PC_FIELD_NUMBER: _ClassVar[int]
    regs: _containers.RepeatedScalarFieldContainer[int]
    pc: int
    def __init__(self, regs: _Optional[_Iterable[int]] = ..., pc: _Optional[int] = ...) -> None: ...

class user_loongarch64_fpregs_entry(_message.Message):
    __slots__ = ("regs", "fcc", "fcsr")
    REGS_FIELD_NUMBER: _ClassVar[int]
    FCC_FIELD_NUMBER: _ClassVar[int]
    FCSR_FIELD_NUMBER: _ClassVar[int]
    regs: _containers.RepeatedScalarFieldContainer[int]
    fcc: int
    fcsr: int
    def __init__(self, regs: _Optional[_Iterable[int]] = ..., fcc: _Optional[int] = ..., fcsr: _Optional[int] = ...) -> None: ...

class thread_info_loongarch64(_message.Message):
    __slots__ = ("clear_tid_addr", "tls", "gpregs", "fpregs")
    CLEAR_TID_ADDR_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    GPREGS_FIELD_NUMBER: _ClassVar[int]
    FPREGS_FIELD_NUMBER: _ClassVar[int]
    clear_tid_addr: int
    tls: int
    gpregs: user_loongarch64_gpregs_entry
    fpregs: user_loongarch64_fpregs_entry
    def __init__(self, clear_tid_addr: _Optional[int] = ..., tls: _Optional[int] = ..., gpregs: _Optional[_Union[user_loongarch64_gpregs_entry, _Mapping[str, object]]] = ..., fpregs: _Optional[_Union[user_loongarch64_fpregs_entry, _Mapping[str, object]]] = ...) -> None: ...

class user_riscv64_regs_entry(_message.Message):
    __slots__ = ("pc", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6")
    PC_FIELD_NUMBER: _ClassVar[int]
    RA_FIELD_NUMBER: _ClassVar[int]
    SP_FIELD_NUMBER: _ClassVar[int]
    GP_FIELD_NUMBER: _ClassVar[int]
    TP_FIELD_NUMBER: _ClassVar[int]
    T0_FIELD_NUMBER: _ClassVar[int]
    T1_FIELD_NUMBER: _ClassVar[int]
    T2_FIELD_NUMBER: _ClassVar[int]
    S0_FIELD_NUMBER: _ClassVar[int]
    S1_FIELD_NUMBER: _ClassVar[int]
    A0_FIELD_NUMBER: _ClassVar[int]
    A1_FIELD_NUMBER: _ClassVar[int]
    A2_FIELD_NUMBER: _ClassVar[int]
    A3_FIELD_NUMBER: _ClassVar[int]
    A4_FIELD_NUMBER: _ClassVar[int]
    A5_FIELD_NUMBER: _ClassVar[int]
    A6_FIELD_NUMBER: _ClassVar[int]
    A7_FIELD_NUMBER: _ClassVar[int]
    S2_FIELD_NUMBER: _ClassVar[int]
    S3_FIELD_NUMBER: _ClassVar[int]
    S4_FIELD_NUMBER: _ClassVar[int]
    S5_FIELD_NUMBER: _ClassVar[int]
    S6_FIELD_NUMBER: _ClassVar[int]
    S7_FIELD_NUMBER: _ClassVar[int]
    S8_FIELD_NUMBER: _ClassVar[int]
    S9_FIELD_NUMBER: _ClassVar[int]
    S10_FIELD_NUMBER: _ClassVar[int]
    S11_FIELD_NUMBER: _ClassVar[int]
    T3_FIELD_NUMBER: _ClassVar[int]
    T4_FIELD_NUMBER: _ClassVar[int]
    T5_FIELD_NUMBER: _ClassVar[int]
    T6_FIELD_NUMBER: _ClassVar[int]
    pc: int
    ra: int
    sp: int
    gp: int
    tp: int
    t0: int
    t1: int
    t2: int
    s0: int
    s1: int
    a0: int
    a1: int
    a2: int
    a3: int
    a4: int
    a5: int
    a6: int
    a7: int
    s2: int
    s3: int
    s4: int
    s5: int
    s6: int
    s7: int
    s8: int
    s9: int
    s10: int
    s11: int
    t3: int
    t4: int
    t5: int
    t6: int
    def __init__(self, pc: _Optional[int] = ..., ra: _Optional[int] = ..., sp: _Optional[int] = ..., gp: _Optional[int] = ..., tp: _Optional[int] = ..., t0: _Optional[int] = ..., t1: _Optional[int] = ..., t2: _Optional[int] = ..., s0: _Optional[int] = ..., s1: _Optional[int] = ..., a0: _Optional[int] = ..., a1: _Optional[int] = ..., a2: _Optional[int] = ..., a3: _Optional[int] = ..., a4: _Optional[int] = ..., a5: _Optional[int] = ..., a6: _Optional[int] = ..., a7: _Optional[int] = ..., s2: _Optional[int] = ..., s3: _Optional[int] = ..., s4: _Optional[int] = ..., s5: _Optional[int] = ..., s6: _Optional[int] = ..., s7: _Optional[int] = ..., s8: _Optional[int] = ..., s9: _Optional[int] = ..., s10: _Optional[int] = ..., s11: _Optional[int] = ..., t3: _Optional[int] = ..., t4: _Optional[int] = ..., t5: _Optional[int] = ..., t6: _Optional[int] = ...) -> None: ...

class user_riscv64_d_ext_entry(_message.Message):
    __slots__ = ("f", "fcsr")
    F_FIELD_NUMBER: _ClassVar[int]
    FCSR_FIELD_NUMBER: _ClassVar[int]
    f: _containers.RepeatedScalarFieldContainer[int]
    fcsr: int
    def __init__(self, f: _Optional[_Iterable[int]] = ..., fcsr: _Optional[int] = ...) -> None: ...

class thread_info_riscv64(_message.Message):
    __slots__ = ("clear_tid_addr", "tls", "gpregs", "fpsimd")
    CLEAR_TID_ADDR_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    GPREGS_FIELD_NUMBER: _ClassVar[int]
    FPSIMD_FIELD_NUMBER: _ClassVar[int]
    clear_tid_addr: int
    tls: int
    gpregs: user_riscv64_regs_entry
    fpsimd: user_riscv64_d_ext_entry
    def __init__(self, clear_tid_addr: _Optional[int] = ..., tls: _Optional[int] = ..., gpregs: _Optional[_Union[user_riscv64_regs_entry, _Mapping[str, object]]] = ..., fpsimd: _Optional[_Union[user_riscv64_d_ext_entry, _Mapping[str, object]]] = ...) -> None: ...

class pac_address_keys(_message.Message):
    __slots__ = ("apiakey_lo", "apiakey_hi", "apibkey_lo", "apibkey_hi", "apdakey_lo", "apdakey_hi", "apdbkey_lo", "apdbkey_hi", "pac_enabled_key")
    APIAKEY_LO_FIELD_NUMBER: _ClassVar[int]
    APIAKEY_HI_FIELD_NUMBER: _ClassVar[int]
    APIBKEY_LO_FIELD_NUMBER: _ClassVar[int]
    APIBKEY_HI_FIELD_NUMBER: _ClassVar[int]
    APDAKEY_LO_FIELD_NUMBER: _ClassVar[int]
    APDAKEY_HI_FIELD_NUMBER: _ClassVar[int]
    APDBKEY_LO_FIELD_NUMBER: _ClassVar[int]
    APDBKEY_HI_FIELD_NUMBER: _ClassVar[int]
    PAC_ENABLED_KEY_FIELD_NUMBER: _ClassVar[int]
    apiakey_lo: int
    apiakey_hi: int
    apibkey_lo: int
    apibkey_hi: int
    apdakey_lo: int
    apdakey_hi: int
    apdbkey_lo: int
    apdbkey_hi: int
    pac_enabled_key: int
    def __init__(self, apiakey_lo: _Optional[int] = ..., apiakey_hi: _Optional[int] = ..., apibkey_lo: _Optional[int] = ..., apibkey_hi: _Optional[int] = ..., apdakey_lo: _Optional[int] = ..., apdakey_hi: _Optional[int] = ..., apdbkey_lo: _Optional[int] = ..., apdbkey_hi: _Optional[int] = ..., pac_enabled_key: _Optional[int] = ...) -> None: ...

class pac_generic_keys(_message.Message):
    __slots__ = ("apgakey_lo", "apgakey_hi")
    APGAKEY_LO_FIELD_NUMBER: _ClassVar[int]
    APGAKEY_HI_FIELD_NUMBER: _ClassVar[int]
    apgakey_lo: int
    apgakey_hi: int
    def __init__(self, apgakey_lo: _Optional[int] = ..., apgakey_hi: _Optional[int] = ...) -> None: ...

class pac_keys(_message.Message):
    __slots__ = ("address_keys", "generic_keys")
    ADDRESS_KEYS_FIELD_NUMBER: _ClassVar[int]
    GENERIC_KEYS_FIELD_NUMBER: _ClassVar[int]
    address_keys: pac_address_keys
    generic_keys: pac_generic_keys
    def __init__(self, address_keys: _Optional[_Union[pac_address_keys, _Mapping[str, object]]] = ..., generic_keys: _Optional[_Union[pac_generic_keys, _Mapping[str, object]]] = ...) -> None: ...

class cpuinfo_x86_entry(_message.Message):
    __slots__ = ("vendor_id", "cpu_family", "model", "stepping", "capability_ver", "capability", "model_id", "xfeatures_mask", "xsave_size", "xsave_size_max")
    class vendor(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN: _ClassVar[cpuinfo_x86_entry.vendor]
        INTEL: _ClassVar[cpuinfo_x86_entry.vendor]
        AMD: _ClassVar[cpuinfo_x86_entry.vendor]
    UNKNOWN: cpuinfo_x86_entry.vendor
    INTEL: cpuinfo_x86_entry.vendor
    AMD: cpuinfo_x86_entry.vendor
    VENDOR_ID_FIELD_NUMBER: _ClassVar[int]
    CPU_FAMILY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STEPPING_FIELD_NUMBER: _ClassVar[int]
    CAPABILITY_VER_FIELD_NUMBER: _ClassVar[int]
    CAPABILITY_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    XFEATURES_MASK_FIELD_NUMBER: _ClassVar[int]
    XSAVE_SIZE_FIELD_NUMBER: _ClassVar[int]
    XSAVE_SIZE_MAX_FIELD_NUMBER: _ClassVar[int]
    vendor_id: cpuinfo_x86_entry.vendor
    cpu_family: int
    model: int
    stepping: int
    capability_ver: int
    capability: _containers.RepeatedScalarFieldContainer[int]
    model_id: str
    xfeatures_mask: int
    xsave_size: int
    xsave_size_max: int
    def __init__(self, vendor_id: _Optional[_Union[cpuinfo_x86_entry.vendor, str]] = ..., cpu_family: _Optional[int] = ..., model: _Optional[int] = ..., stepping: _Optional[int] = ..., capability_ver: _Optional[int] = ..., capability: _Optional[_Iterable[int]] = ..., model_id: _Optional[str] = ..., xfeatures_mask: _Optional[int] = ..., xsave_size: _Optional[int] = ..., xsave_size_max: _Optional[int] = ...) -> None: ...

class cpuinfo_ppc64_entry(_message.Message):
    __slots__ = ("endian", "hwcap")
    class endianness(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        BIGENDIAN: _ClassVar[cpuinfo_ppc64_entry.endianness]
        LITTLEENDIAN: _ClassVar[cpuinfo_ppc64_entry.endianness]
    BIGENDIAN: cpuinfo_ppc64_entry.endianness
    LITTLEENDIAN: cpuinfo_ppc64_entry.endianness
    ENDIAN_FIELD_NUMBER: _ClassVar[int]
    HWCAP_FIELD_NUMBER: _ClassVar[int]
    endian: cpuinfo_ppc64_entry.endianness
    hwcap: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, endian: _Optional[_Union[cpuinfo_ppc64_entry.endianness, str]] = ..., hwcap: _Optional[_Iterable[int]] = ...) -> None: ...

class cpuinfo_s390_entry(_message.Message):
    __slots__ = ("hwcap",)
    HWCAP_FIELD_NUMBER: _ClassVar[int]
    hwcap: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, hwcap: _Optional[_Iterable[int]] = ...) -> None: ...

class cpuinfo_entry(_message.Message):
    __slots__ = ("x86_entry", "ppc64_entry", "s390_entry")
    X86_ENTRY_FIELD_NUMBER: _ClassVar[int]
    PPC64_ENTRY_FIELD_NUMBER: _ClassVar[int]
    S390_ENTRY_FIELD_NUMBER: _ClassVar[int]
    x86_entry: _containers.RepeatedCompositeFieldContainer[cpuinfo_x86_entry]
    ppc64_entry: _containers.RepeatedCompositeFieldContainer[cpuinfo_ppc64_entry]
    s390_entry: _containers.RepeatedCompositeFieldContainer[cpuinfo_s390_entry]
    def __init__(self, x86_entry: _Optional[_Iterable[_Union[cpuinfo_x86_entry, _Mapping[str, object]]]] = ..., ppc64_entry: _Optional[_Iterable[_Union[cpuinfo_ppc64_entry, _Mapping[str, object]]]] = ..., s390_entry: _Optional[_Iterable[_Union[cpuinfo_s390_entry, _Mapping[str, object]]]] = ...) -> None: ...
