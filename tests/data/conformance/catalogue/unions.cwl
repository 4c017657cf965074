cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs:
  a: [File, string]
  b: [int, string, "null"]
  c: {type: [{type: array, items: string}, string, boolean]}
  d: [double, "int[]", {type: record, name: R, fields: {x: int}}, {type: record, name: S, fields: {y: string}}]
  e: {type: ["null", Directory, File, {type: array, items: [File, Directory]}]}
outputs: {kinds: "string[]", d: Any}
expression: >
  ${
    function kind(v) { return v === null ? "null" : Array.isArray(v) ? "array" : v.class ? v.class : typeof v; }
    return {kinds: ["a", "b", "c", "d", "e"].map(function (n) { return kind(inputs[n]); }), d: inputs.d};
  }
