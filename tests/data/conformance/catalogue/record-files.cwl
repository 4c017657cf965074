cwlVersion: v1.2
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}}
inputs:
  pair:
    type:
      - type: record
        name: Pair
        fields:
          - {name: left, type: File, secondaryFiles: [.idx], inputBinding: {position: 1}}
          - {name: right, type: "File[]", inputBinding: {position: 2}}
          - name: mode
            type: [{type: enum, name: Mode, symbols: [fast, slow]}, "null"]
          - {name: inner, type: {type: record, fields: {n: int, note: "string?"}}}
  extra: {type: {type: array, items: {type: record, fields: [{name: f, type: [File, string]}]}}}
baseCommand: cat
stdout: joined
outputs:
  joined: stdout
  index: {type: string, outputBinding: {outputEval: "$(inputs.pair.left.secondaryFiles[0].basename)"}}
  mode: {type: "string?", outputBinding: {outputEval: $(inputs.pair.mode)}}
  n: {type: int, outputBinding: {outputEval: $(inputs.pair.inner.n)}}
  kinds:
    type: string[]
    outputBinding:
      outputEval: "${ return (inputs.extra || []).map(function (e) { return typeof e.f; }); }"
