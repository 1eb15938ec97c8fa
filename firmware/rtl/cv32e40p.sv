// SPDX-License-Identifier: Apache-2.0
//
// CV32E40P between two ports. COREV_PULP adds SIMD, post-increment addressing, hardware loops and more to RV32IMC.
module soc #(
    parameter bit COREV_PULP = 0
) (
    input  logic        clk_i,
    input  logic        rst_ni,
    input  logic [ 7:0] fetch_wait_i,
    input  logic [ 7:0] data_wait_i,
    output logic        retire_o,   // an instruction leaves the decode stage for good in this cycle: the core's minstret
    output logic [31:0] retire_pc_o
);
  logic ireq, ignt, irvalid, dreq, dgnt, drvalid, dwe;
  logic [3:0] dbe;
  logic [31:0] iaddr, irdata, daddr, dwdata, drdata;
  logic [31:0] executing_pc;

  assign retire_o = u_core.core_i.id_stage_i.minstret;
  assign retire_pc_o = u_core.core_i.pc_id;
  always_ff @(posedge clk_i) if (retire_o) executing_pc <= retire_pc_o;

  cv32e40p_top #(
      .COREV_PULP(COREV_PULP),
      .NUM_MHPMCOUNTERS(1)
  ) u_core (
      .clk_i,
      .rst_ni,
      .pulp_clock_en_i(1'b1),
      .scan_cg_en_i(1'b0),
      .boot_addr_i(32'h8000_0000),
      .mtvec_addr_i(32'h8000_0100),
      .dm_halt_addr_i(32'h8000_0100),
      .hart_id_i(32'd0),
      .dm_exception_addr_i(32'h8000_0100),
      .instr_req_o(ireq),
      .instr_gnt_i(ignt),
      .instr_rvalid_i(irvalid),
      .instr_addr_o(iaddr),
      .instr_rdata_i(irdata),
      .data_req_o(dreq),
      .data_gnt_i(dgnt),
      .data_rvalid_i(drvalid),
      .data_we_o(dwe),
      .data_be_o(dbe),
      .data_addr_o(daddr),
      .data_wdata_o(dwdata),
      .data_rdata_i(drdata),
      .irq_i(32'd0),
      .irq_ack_o(),
      .irq_id_o(),
      .debug_req_i(1'b0),
      .debug_havereset_o(),
      .debug_running_o(),
      .debug_halted_o(),
      .fetch_enable_i(1'b1),
      .core_sleep_o()
  );

  port #(.FETCH(1)) u_fetch (
      .clk_i, .rst_ni, .wait_i(fetch_wait_i), .req_i(ireq), .we_i(1'b0), .be_i(4'hf), .addr_i(iaddr), .wdata_i(32'd0),
      .gnt_o(ignt), .rvalid_o(irvalid), .rdata_o(irdata), .pc_i(32'd0), .ra_i(32'd0), .sp_i(32'd0));
  port u_data (
      .clk_i, .rst_ni, .wait_i(data_wait_i), .req_i(dreq), .we_i(dwe), .be_i(dbe), .addr_i(daddr), .wdata_i(dwdata),
      .gnt_o(dgnt), .rvalid_o(drvalid), .rdata_o(drdata), .pc_i(executing_pc),
      .ra_i(u_core.core_i.id_stage_i.register_file_i.mem[1]), .sp_i(u_core.core_i.id_stage_i.register_file_i.mem[2]));
endmodule

// The clock gate that an implementation brings for its technology. This one never gates: what the core does is the same in
// every cycle, but mcycle would go on during wfi, which no firmware of ours executes.
module cv32e40p_clock_gate (
    input  logic clk_i,
    input  logic en_i,
    input  logic scan_cg_en_i,
    output logic clk_o
);
  assign clk_o = clk_i;
endmodule
