# Scattered steps of every kind, beside steps that aren't.
cwlVersion: v1.2
class: Workflow
requirements:
  InlineJavascriptRequirement: {}
  MultipleInputFeatureRequirement: {}
  ScatterFeatureRequirement: {}
  StepInputExpressionRequirement: {}
  SubworkflowFeatureRequirement: {}
inputs:
  numbers: int[]
  letters: string[]
  wait: string
outputs: []
steps:
  list:
    run:
      class: ExpressionTool
      inputs: {numbers: "int[]"}
      outputs: {list: "int[]"}
      expression: "${ return {list: inputs.numbers}; }"
    in: {numbers: numbers}
    out: [list]
  made:
    run: &tool
      class: CommandLineTool
      baseCommand: [sh, -c, 'while [ -n "$0" ] && [ "$1" = 2 ] && ! [ -e "$0" ]; do sleep 0.1; done']
      inputs:
        wait: {type: string, inputBinding: {position: 1}}
        number: {type: int, inputBinding: {position: 2}}
        letter: string?
      outputs: {number: {type: int, outputBinding: {outputEval: $(inputs.number)}}}
    scatter: number
    in: {number: list/list, wait: wait}
    out: [number]
  some:
    run: *tool
    scatter: number
    when: $(inputs.number > 1)
    in: {number: numbers, wait: {default: ""}}
    out: [number]
  none:
    run: *tool
    scatter: number
    when: $(inputs.number > 100)
    in: {number: numbers, wait: {default: ""}}
    out: [number]
  empty:
    run: *tool
    scatter: number
    in: {number: {default: []}, wait: {default: ""}}
    out: [number]
  expressions:
    run:
      class: ExpressionTool
      inputs: {number: int}
      outputs: {number: int}
      expression: "${ return {number: inputs.number}; }"
    scatter: number
    in: {number: numbers}
    out: [number]
  nested:
    run: *tool
    scatter: [number, letter]
    scatterMethod: nested_crossproduct
    in: {number: numbers, letter: letters, wait: {default: ""}}
    out: [number]
  flat:
    run: *tool
    scatter: [number, letter]
    scatterMethod: flat_crossproduct
    in: {number: numbers, letter: letters, wait: {default: ""}}
    out: [number]
  inner:
    run:
      class: Workflow
      inputs: {number: int, numbers: "int[]"}
      outputs: []
      steps:
        made:
          run: *tool
          scatter: number
          in: {number: numbers, wait: {default: ""}}
          out: [number]
    scatter: number
    in: {number: numbers, numbers: numbers}
    out: []
  once:
    run: *tool
    in: {number: {default: 1}, wait: {default: ""}}
    out: [number]
