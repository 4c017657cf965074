cwlVersion: v1.2
class: Workflow
requirements: {SubworkflowFeatureRequirement: {}, ScatterFeatureRequirement: {}}
inputs: {texts: "string[]"}
outputs: {out: {type: "File[]", outputSource: say/out}}
steps:
  say:
    label: Outer
    doc: [What, it does]
    scatter: text
    in: {text: texts}
    out: [out]
    run:
      class: Workflow
      inputs: {text: string}
      outputs: {out: {type: File, outputSource: say/out}}
      steps:
        say:
          in: {text: text}
          out: [out]
          run:
            class: Workflow
            inputs: {text: string}
            outputs: {out: {type: File, outputSource: echo/said}}
            steps: [{id: echo, run: echo.cwl, in: [{id: text, source: text}], out: [{id: said}]}]
