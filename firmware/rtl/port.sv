// SPDX-License-Identifier: Apache-2.0
//
// A core's port to the test bench: memory and devices live in testbench.cpp, and both ports of a core see the same ones.
//
// Protocol: the part of OBI that CV32E40P and Ibex use. A request is taken when gnt_o is high, its answer comes with rvalid_o.
// Memory model: wait_i = 0 is a synchronous SRAM, one access per cycle, the answer one cycle after the request. wait_i = W
// delays every answer by W cycles more and takes the next request only after it.
module port #(
    parameter bit FETCH = 0 // instructions: only read, and reading where nothing is does no harm
) (
    input  logic        clk_i,
    input  logic        rst_ni,
    input  logic [ 7:0] wait_i,
    input  logic        req_i,
    input  logic        we_i,
    input  logic [ 3:0] be_i,
    input  logic [31:0] addr_i,
    input  logic [31:0] wdata_i,
    output logic        gnt_o,
    output logic        rvalid_o,
    output logic [31:0] rdata_o,
    // for reports of faults only: the instruction that accesses data, its return address and stack pointer
    input  logic [31:0] pc_i,
    input  logic [31:0] ra_i,
    input  logic [31:0] sp_i
);
  import "DPI-C" function int unsigned bus_fetch(input int unsigned addr);
  import "DPI-C" function bit bus_load(input int unsigned addr, output int unsigned data);
  import "DPI-C" function bit bus_store(input int unsigned addr, input int unsigned data, input int unsigned be);
  import "DPI-C" function void bus_fault(
    input int unsigned cause, input int unsigned addr, input int unsigned pc, input int unsigned ra, input int unsigned sp);

  localparam int unsigned LOAD_FAULT = 5, STORE_FAULT = 7; // as in mcause

  logic [7:0] left_q; // cycles until the answer
  int unsigned word;
  assign gnt_o = left_q == 8'd0;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      left_q   <= 8'd0;
      rvalid_o <= 1'b0;
      rdata_o  <= 32'd0;
    end else begin
      rvalid_o <= 1'b0;
      if (left_q != 8'd0) begin
        left_q   <= left_q - 8'd1;
        rvalid_o <= left_q == 8'd1;
      end else if (req_i) begin
        if (FETCH) begin
          rdata_o <= bus_fetch(addr_i);
        end else if (we_i) begin
          if (!bus_store(addr_i, wdata_i, {28'd0, be_i})) bus_fault(STORE_FAULT, addr_i, pc_i, ra_i, sp_i);
        end else begin
          if (!bus_load(addr_i, word)) bus_fault(LOAD_FAULT, addr_i, pc_i, ra_i, sp_i);
          rdata_o <= word;
        end
        left_q   <= wait_i;
        rvalid_o <= wait_i == 8'd0;
      end
    end
  end
endmodule
