// SPDX-License-Identifier: Apache-2.0
//
// PicoRV32 with all that makes it fast, on its look-ahead interface: with wait states of 0 a synchronous SRAM answers in the
// cycle in which the core asks.
//
// The core has no machine-mode CSRs. A co-processor here takes accesses to them and does nothing, so that firmware for cores
// that have them runs unchanged. There are no exceptions either: the core's trap output ends the run.
module soc (
    input  logic        clk_i,
    input  logic        rst_ni,
    input  logic [ 7:0] fetch_wait_i,
    input  logic [ 7:0] data_wait_i,
    output logic        retire_o,   // the next instruction begins in this cycle, so this one is done
    output logic [31:0] retire_pc_o
);
  import "DPI-C" function int unsigned bus_fetch(input int unsigned addr);
  import "DPI-C" function bit bus_load(input int unsigned addr, output int unsigned data);
  import "DPI-C" function bit bus_store(input int unsigned addr, input int unsigned data, input int unsigned be);
  import "DPI-C" function void bus_fault(
    input int unsigned cause, input int unsigned addr, input int unsigned pc, input int unsigned ra, input int unsigned sp);

  // as in mcause
  localparam int unsigned ILLEGAL = 2, BREAKPOINT = 3, LOAD_MISALIGNED = 4, LOAD_FAULT = 5, STORE_MISALIGNED = 6, STORE_FAULT = 7;

  logic trap, read, write, fetching, started_q;
  logic [31:0] addr, wdata, rdata_q, pc_q;
  logic [3:0] strobe;
  logic [7:0] left_q;
  logic [31:0] copro_insn;
  logic copro_valid;
  int unsigned word;

  picorv32 #(
      .COMPRESSED_ISA(1),
      .ENABLE_PCPI(1),
      .ENABLE_FAST_MUL(1),
      .ENABLE_DIV(1),
      .BARREL_SHIFTER(1),
      .PROGADDR_RESET(32'h8000_0000)
  ) u_core (
      .clk(clk_i),
      .resetn(rst_ni),
      .trap,
      .mem_valid(),
      .mem_instr(),
      .mem_ready(left_q == 8'd0),
      .mem_addr(),
      .mem_wdata(),
      .mem_wstrb(),
      .mem_rdata(rdata_q),
      .mem_la_read(read),
      .mem_la_write(write),
      .mem_la_addr(addr),
      .mem_la_wdata(wdata),
      .mem_la_wstrb(strobe),
      .pcpi_valid(copro_valid),
      .pcpi_insn(copro_insn),
      .pcpi_rs1(),
      .pcpi_rs2(),
      .pcpi_wr(1'b0),
      .pcpi_rd(32'd0),
      .pcpi_wait(1'b0),
      .pcpi_ready(copro_valid && copro_insn[6:0] == 7'h73 && copro_insn[13:12] != 2'd0), // csrrw, csrrs, csrrc and the like
      .irq(32'd0),
      .eoi(),
      .trace_valid(),
      .trace_data()
  );

  assign fetching = u_core.mem_do_prefetch || u_core.mem_do_rinst;
  assign retire_o = u_core.launch_next_insn && started_q;
  assign retire_pc_o = pc_q;

  function automatic void fault(input int unsigned cause, input int unsigned at);
    bus_fault(cause, at, pc_q, u_core.cpuregs[1], u_core.cpuregs[2]);
  endfunction

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      started_q <= 1'b0;
      left_q <= 8'd0;
    end else begin
      if (u_core.launch_next_insn) begin
        started_q <= 1'b1;
        pc_q <= u_core.next_pc;
      end
      if (left_q != 8'd0) left_q <= left_q - 8'd1;
      if (read && fetching) begin
        rdata_q <= bus_fetch(addr);
        left_q <= fetch_wait_i;
      end else if (read) begin
        if (!bus_load(addr, word)) fault(LOAD_FAULT, addr);
        rdata_q <= word;
        left_q <= data_wait_i;
      end else if (write) begin
        if (!bus_store(addr, wdata, {28'd0, strobe})) fault(STORE_FAULT, addr);
        left_q <= data_wait_i;
      end
      if (trap) begin
        if (u_core.mem_do_rdata) fault(LOAD_MISALIGNED, u_core.reg_op1);
        else if (u_core.mem_do_wdata) fault(STORE_MISALIGNED, u_core.reg_op1);
        else fault(u_core.instr_ecall_ebreak ? BREAKPOINT : ILLEGAL, 32'd0);
      end
    end
  end
endmodule
