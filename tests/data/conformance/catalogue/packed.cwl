{
    "$graph": [
        {"class": "CommandLineTool", "baseCommand": ["cat"], "stdout": "all",
         "inputs": [{"id": "#join.cwl/files", "type": {"type": "array", "items": "File"}, "inputBinding": {"position": 1}}],
         "outputs": [{"id": "#join.cwl/all", "type": "File", "outputBinding": {"glob": "all"}}], "id": "#join.cwl"},
        {"class": "Workflow",
         "inputs": [{"id": "#main/files", "type": {"type": "array", "items": "File"}}],
         "outputs": [{"id": "#main/all", "type": "File", "outputSource": "#main/join/all"}],
         "steps": [{"id": "#main/join", "run": "#join.cwl", "in": [{"id": "#main/join/files", "source": "#main/files"}], "out": ["#main/join/all"]}],
         "id": "#main"}
    ],
    "cwlVersion": "v1.0"
}
