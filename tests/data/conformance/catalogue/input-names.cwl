cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs: {with-dash: string, with.dot: string, größe: int, "2nd": string, _x: "string?", name: string, format: string, outdir: string, help: string, size: int}
outputs: {out-put: string, out.put: Any, "mañana": int}
expression: >
  ${ return {"out-put": inputs["with-dash"] + inputs["2nd"] + inputs.name + inputs.format + inputs.outdir + inputs.help,
             "out.put": inputs["with.dot"], "mañana": inputs["größe"] + inputs.size}; }
