// SPDX-License-Identifier: Apache-2.0
//
// Ibex between two ports.
//   RV32M            1: multiplication in many cycles, 2: in three to four, 3: in one
//   WRITEBACK        a third pipeline stage, which hides a load's latency
//   BRANCH_ADDER     an adder of its own for branch targets: taken branches are a cycle shorter
module soc #(
    parameter int RV32M = 2,
    parameter bit WRITEBACK = 0,
    parameter bit BRANCH_ADDER = 0
) (
    input  logic        clk_i,
    input  logic        rst_ni,
    input  logic [ 7:0] fetch_wait_i,
    input  logic [ 7:0] data_wait_i,
    output logic        retire_o,   // the core's minstret
    output logic [31:0] retire_pc_o
);
  logic ireq, ignt, irvalid, dreq, dgnt, drvalid, dwe;
  logic [3:0] dbe;
  logic [31:0] iaddr, irdata, daddr, dwdata, drdata;

  assign retire_o = u_core.u_ibex_core.perf_instr_ret_wb;
  assign retire_pc_o = WRITEBACK ? u_core.u_ibex_core.pc_wb : u_core.u_ibex_core.pc_id;

  ibex_top #(
      .RV32M(ibex_pkg::rv32m_e'(RV32M)),
      .RegFile(ibex_pkg::RegFileFF),
      .BranchTargetALU(BRANCH_ADDER),
      .WritebackStage(WRITEBACK)
  ) u_core (
      .clk_i,
      .rst_ni,
      .test_en_i(1'b0),
      .ram_cfg_i('0),
      .hart_id_i(32'd0),
      .boot_addr_i(32'h8000_0000), // the first instruction is at +0x80
      .instr_req_o(ireq),
      .instr_gnt_i(ignt),
      .instr_rvalid_i(irvalid),
      .instr_addr_o(iaddr),
      .instr_rdata_i(irdata),
      .instr_rdata_intg_i(7'd0),
      .instr_err_i(1'b0),
      .data_req_o(dreq),
      .data_gnt_i(dgnt),
      .data_rvalid_i(drvalid),
      .data_we_o(dwe),
      .data_be_o(dbe),
      .data_addr_o(daddr),
      .data_wdata_o(dwdata),
      .data_wdata_intg_o(),
      .data_rdata_i(drdata),
      .data_rdata_intg_i(7'd0),
      .data_err_i(1'b0),
      .irq_software_i(1'b0),
      .irq_timer_i(1'b0),
      .irq_external_i(1'b0),
      .irq_fast_i(15'd0),
      .irq_nm_i(1'b0),
      .scramble_key_valid_i(1'b0),
      .scramble_key_i('0),
      .scramble_nonce_i('0),
      .scramble_req_o(),
      .debug_req_i(1'b0),
      .crash_dump_o(),
      .double_fault_seen_o(),
      .fetch_enable_i(ibex_pkg::IbexMuBiOn),
      .alert_minor_o(),
      .alert_major_internal_o(),
      .alert_major_bus_o(),
      .core_sleep_o(),
      .scan_rst_ni(1'b1)
  );

  port #(.FETCH(1)) u_fetch (
      .clk_i, .rst_ni, .wait_i(fetch_wait_i), .req_i(ireq), .we_i(1'b0), .be_i(4'hf), .addr_i(iaddr), .wdata_i(32'd0),
      .gnt_o(ignt), .rvalid_o(irvalid), .rdata_o(irdata), .pc_i(32'd0), .ra_i(32'd0), .sp_i(32'd0));
  port u_data (
      .clk_i, .rst_ni, .wait_i(data_wait_i), .req_i(dreq), .we_i(dwe), .be_i(dbe), .addr_i(daddr), .wdata_i(dwdata),
      .gnt_o(dgnt), .rvalid_o(drvalid), .rdata_o(drdata), .pc_i(u_core.u_ibex_core.pc_id),
      .ra_i(u_core.gen_regfile_ff.register_file_i.rf_reg[1]), .sp_i(u_core.gen_regfile_ff.register_file_i.rf_reg[2]));
endmodule
