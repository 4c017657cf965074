cwlVersion: v1.2
class: CommandLineTool
inputs: []
baseCommand: echo
outputs: {number: {type: int, outputBinding: {outputEval: $(runtime.outdir)}}}
