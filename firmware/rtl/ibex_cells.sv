// SPDX-License-Identifier: Apache-2.0
//
// The technology cells that Ibex refers to; an implementation brings its own.
module prim_buf #(
    parameter int Width = 1
) (
    input  logic [Width-1:0] in_i,
    output logic [Width-1:0] out_o
);
  assign out_o = in_i;
endmodule

module prim_flop #(
    parameter int Width = 1,
    parameter logic [Width-1:0] ResetValue = 0
) (
    input  logic             clk_i,
    input  logic             rst_ni,
    input  logic [Width-1:0] d_i,
    output logic [Width-1:0] q_o
);
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) q_o <= ResetValue;
    else q_o <= d_i;
  end
endmodule

// Never gates: only mcycle during wfi would differ, which no firmware of ours executes.
module prim_clock_gating #(
    parameter bit NoFpgaGate = 0,
    parameter bit FpgaBufGlobal = 1
) (
    input  logic clk_i,
    input  logic en_i,
    input  logic test_en_i,
    output logic clk_o
);
  assign clk_o = clk_i;
endmodule

module prim_clock_mux2 #(
    parameter bit NoFpgaBufG = 0
) (
    input  logic clk0_i,
    input  logic clk1_i,
    input  logic sel_i,
    output logic clk_o
);
  assign clk_o = sel_i ? clk1_i : clk0_i;
endmodule
