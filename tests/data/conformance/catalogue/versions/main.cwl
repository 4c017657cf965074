cwlVersion: v1.2
class: Workflow
inputs: {text: string}
outputs: {out: {type: File, outputSource: count/out}}
steps:
  say: {run: sub/old.cwl, in: {text: text}, out: [out]}
  count: {run: {$import: sub/newer.cwl}, in: {file: say/out}, out: [out]}
