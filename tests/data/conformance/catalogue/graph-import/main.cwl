cwlVersion: v1.2
$graph:
  - $import: parts/upper.cwl
  - class: Workflow
    id: main
    inputs: {text: string}
    outputs: {upper: {type: string, outputSource: up/upper}}
    steps:
      up: {run: "parts/upper.cwl#upper", in: {text: text}, out: [upper]}
