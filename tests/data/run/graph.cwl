cwlVersion: v1.2
class: Workflow
doc: Two parallel sleeps as a scatter, a step that is skipped, and one that fails when asked to.
requirements:
  ScatterFeatureRequirement: {}
  InlineJavascriptRequirement: {}
inputs:
  seconds: {type: "float[]"}
  status: int
outputs: []
steps:
  sleeps:
    scatter: second
    in: {second: seconds}
    out: [done]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'sleep "$0"; echo slept']
      inputs:
        second: {type: float, inputBinding: {position: 1}}
      outputs: {done: stdout}
  never:
    when: $(false)
    in: {}
    out: []
    run:
      class: CommandLineTool
      baseCommand: ["true"]
      inputs: []
      outputs: []
  simulate:
    in: {status: status, wait: sleeps/done}
    out: [done]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo "no convergence after $0 rounds" >&2; exit $0']
      inputs:
        wait: File[]
        status: {type: int, inputBinding: {position: 1}}
      outputs: {done: stdout}
  after:
    in: {done: simulate/done}
    out: []
    run:
      class: CommandLineTool
      baseCommand: ["true"]
      inputs: {done: File}
      outputs: []
