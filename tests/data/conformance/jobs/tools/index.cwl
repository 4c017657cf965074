cwlVersion: v1.2
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}}
baseCommand: [sh, -c, 'cat "$0" "$0.idx" > all; for f in "$(dirname "$0")"/*; do basename "$f"; done > names']
inputs:
  reads:
    type: File
    secondaryFiles: [.idx, ^.dict, '$(self.nameroot + "-notes.txt")', {pattern: .gone, required: false}, ".left?"]
    inputBinding: {}
outputs:
  all: {type: File, outputBinding: {glob: all}}
  names: {type: File, outputBinding: {glob: names}}
  known: {type: string, outputBinding: {outputEval: '$(inputs.reads.basename + " " + inputs.reads.size)'}}
