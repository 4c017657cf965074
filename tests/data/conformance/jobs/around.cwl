cwlVersion: v1.2
class: Workflow
requirements: {InlineJavascriptRequirement: {}}
inputs:
  reads: {type: File, secondaryFiles: [.idx, ^.dict, '$(self.nameroot + "-notes.txt")', .gone?, .left?]}
outputs:
  names: {type: File, outputSource: index/names}
steps:
  index: {run: tools/index.cwl, in: {reads: reads}, out: [names]}
