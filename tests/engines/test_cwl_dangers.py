"""What publishers are told of what users of their workflows could do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpcwaas.common.resources import resource
from hpcwaas.engines.cwl.workflows.describer import describe_entries
from hpcwaas.engines.cwl.workflows.metadata import Entry

JS = "requirements: {InlineJavascriptRequirement: {}}\n"
LIBRARY = (
    'requirements:\n  InlineJavascriptRequirement:\n    expressionLib:\n    - "function f() { return inputs.text; }"\n'
)
INPUTS = (
    "inputs: {text: string, number: int, file: File, words: 'string[]?', colour: {type: {type: enum, symbols: [a]}}}\n"
)
LITERAL = "\"${return {class: 'File', location: inputs.text};}\""
NONE = "outputs: []\n"
CAT = "baseCommand: cat\n"
SHELL = "requirements: {ShellCommandRequirement: {}}\n"


def globbed(*patterns: str, inputs: str | None = None) -> str:
    glob = json.dumps(patterns if len(patterns) > 1 else patterns[0])
    return f"{inputs or INPUTS}{CAT}outputs: {{o: {{type: File, outputBinding: {{glob: {glob}}}}}}}\n"


def listing(entry: str) -> str:
    return f"{INPUTS}{NONE}{CAT}requirements:\n  InitialWorkDirRequirement:\n    listing:\n    - {entry}\n"


def bound(inputs: str) -> str:
    return f"inputs: {{{inputs}}}\n{NONE}"


DANGEROUS = {
    "glob": (globbed("$(inputs.text)"), "which files are the output `o` (glob)"),
    "glob inside": (globbed("dir/$(inputs.text).txt"), "(glob)"),
    "glob by index": (globbed('$(inputs["text"])'), "(glob)"),
    "glob of a list": (globbed("a", "$(inputs.words)"), "(glob)"),
    "glob in JavaScript": (JS + globbed("${var i = inputs; return i.text;}"), "(glob)"),
    "glob by a computed name": (JS + globbed("${return inputs['te' + 'xt'];}"), "(glob)"),
    "glob by a library": (LIBRARY + globbed("$(f())"), "(glob)"),
    "glob of content": (
        globbed("$(inputs.file.contents)", inputs="inputs: {file: {type: File, loadContents: true}}\n"),
        "`file` chooses which files are the output `o` (glob)",
    ),
    "outputEval": (
        JS + INPUTS + CAT + "outputs: {o: {type: File, outputBinding: {outputEval: " + LITERAL + "}}}\n",
        "(outputEval)",
    ),
    "stdout": (f"{INPUTS}{NONE}{CAT}stdout: $(inputs.text).txt\n", "which file a tool writes as stdout"),
    "stderr": (f"{INPUTS}{NONE}{CAT}stderr: $(inputs.text)\n", "which file a tool writes as stderr"),
    "stdin": (f"{INPUTS}{NONE}{CAT}stdin: $(inputs.text)\n", "which file a tool reads as stdin"),
    "entryname": (listing("{entryname: $(inputs.text), entry: x}"), "(entryname)"),
    "entry": (listing('{entryname: run.sh, entry: "echo $(inputs.text)"}'), "what stands in run.sh"),
    "shellQuote": (
        bound("text: {type: string, inputBinding: {shellQuote: false}}") + CAT + SHELL,
        "(shellQuote: false)",
    ),
    "shellQuote of a file": (
        bound("file: {type: File, inputBinding: {shellQuote: false}}") + CAT + SHELL,
        "(shellQuote: false)",
    ),
    "shellQuote of an argument": (
        f"{INPUTS}{NONE}{CAT}{SHELL}arguments: [{{valueFrom: echo $(inputs.text), shellQuote: false}}]\n",
        "(shellQuote: false)",
    ),
    "shellQuote in a record": (
        bound("r: {type: {type: record, fields: {t: {type: string, inputBinding: {shellQuote: false}}}}}")
        + CAT
        + SHELL,
        "(shellQuote: false)",
    ),
    "no program": (bound("text: {type: string, inputBinding: {}}"), "the program that is run"),
    "no program, a file": (bound("file: {type: File, inputBinding: {}}"), "the program that is run"),
    "first argument": (f"{INPUTS}{NONE}arguments: [$(inputs.text), x]\n", "the program that is run"),
    "sh -c": (bound("text: {type: string, inputBinding: {}}") + "baseCommand: [/bin/sh, -c]\n", "what sh runs"),
    "python -c": (f"{INPUTS}{NONE}baseCommand: python3\narguments: [-c, print($(inputs.text))]\n", "what python3 runs"),
    "a prefix": (
        bound("text: {type: string, inputBinding: {prefix: -e}}") + "baseCommand: [perl, -w]\n",
        "what perl runs",
    ),
    "a script": (
        bound("file: {type: File, inputBinding: {}}") + "baseCommand: [Rscript, --vanilla]\n",
        "what Rscript runs",
    ),
    "env": (bound("text: {type: string, inputBinding: {}}") + "baseCommand: [env, A=b]\n", "what env runs"),
    "output option": (
        bound("text: {type: string, inputBinding: {prefix: -o}}") + "baseCommand: sort\n",
        "the file that a tool may write, wherever it is (prefix -o)",
    ),
    "environment": (
        f"{INPUTS}{NONE}{CAT}requirements: {{EnvVarRequirement: {{envDef: {{LD_PRELOAD: $(inputs.text)}}}}}}\n",
        "the variable LD_PRELOAD",
    ),
    "docker": (
        f"{INPUTS}{NONE}{CAT}hints: {{DockerRequirement: {{dockerPull: $(inputs.text)}}}}\n",
        "the container that tools run in",
    ),
}
HARMLESS = {
    "number": globbed("$(inputs.number).txt"),
    "enum": f"{INPUTS}{NONE}{CAT}stdout: $(inputs.colour).txt\n",
    "name of a file": f"{INPUTS}{NONE}{CAT}stdout: $(inputs.file.nameroot).txt\n",
    "file as stdin": f"{INPUTS}{NONE}{CAT}stdin: $(inputs.file.path)\n",
    "constant": globbed("*.txt"),
    "argument": bound("text: {type: string, inputBinding: {}}") + "baseCommand: echo\n",
    "argument of a script": bound("text: {type: string, inputBinding: {}}") + "baseCommand: [python3, run.py]\n",
    "argument of a command": bound("text: {type: string, inputBinding: {}}") + "baseCommand: [sh, -c, 'echo \"$0\"']\n",
    "quoted": bound("text: {type: string, inputBinding: {shellQuote: true}}") + CAT + SHELL,
    "no shell": bound("text: {type: string, inputBinding: {shellQuote: false}}") + CAT,
    "staged file": listing("$(inputs.file)"),
    "variable": f"{INPUTS}{NONE}{CAT}requirements: {{EnvVarRequirement: {{envDef: {{MESSAGE: $(inputs.text)}}}}}}\n",
}
WORKFLOWS = {
    "source": ("inputs: {x: string}", "in: {text: x}", "`x`"),
    "list": ("inputs: {x: 'string[]'}", "scatter: text, in: {text: x}", "`x`"),
    "member": (
        "inputs: {x: {type: {type: record, fields: {y: string}}}}",
        "in: {text: {source: x, valueFrom: $(self.y)}}",
        "`x`",
    ),
    "several": (
        "inputs: {x: string, y: string}",
        "in: {y: y, text: {source: x, valueFrom: $(self)$(inputs.y)}}",
        "`x`, `y`",
    ),
    "constant": ("inputs: {x: string}", "in: {x: x, text: {valueFrom: $('a')}}", None),
    "default": ("inputs: {x: string}", "in: {x: x, text: {default: a}}", None),
    "name": ("inputs: {x: File}", "in: {text: {source: x, valueFrom: $(self.basename)}}", None),
}
HEAD = "cwlVersion: v1.2\nclass: {}\n"


@pytest.fixture(scope="module")
def dangers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What is said of each document, by its name."""
    directory = tmp_path_factory.mktemp("dangers")
    documents = {name: HEAD.format("CommandLineTool") + content for name, (content, _) in DANGEROUS.items()}
    documents |= {f"not {name}": HEAD.format("CommandLineTool") + content for name, content in HARMLESS.items()}
    documents["tool"] = documents["glob"].replace(INPUTS, "inputs: {text: string}\n")
    documents["reads"] = (
        HEAD.format("CommandLineTool")
        + "inputs: {file: File}\nbaseCommand: cat\nstdout: x\n"
        + "outputs:\n  word:\n    type: string\n"
        + "    outputBinding: {glob: x, loadContents: true, outputEval: '$(self[0].contents)'}\n"
    )
    requirements = "requirements: {StepInputExpressionRequirement: {}, ScatterFeatureRequirement: {}, "
    requirements += "InlineJavascriptRequirement: {}, SubworkflowFeatureRequirement: {}}\noutputs: []\n"
    for name, (inputs, step, _) in WORKFLOWS.items():
        documents[f"flow {name}"] = (
            f"{HEAD.format('Workflow')}{requirements}{inputs}\nsteps:\n  s: {{run: tool.cwl, out: [o], {step}}}\n"
        )
    documents["flow through"] = (
        f"{HEAD.format('Workflow')}{requirements}inputs: {{x: File}}\nsteps:\n"
        "  b: {run: tool.cwl, out: [o], in: {text: a/word}}\n  a: {run: reads.cwl, out: [word], in: {file: x}}\n"
    )
    documents["flow below"] = (
        f"{HEAD.format('Workflow')}{requirements}inputs: {{z: string}}\n"
        "steps:\n  s: {run: 'flow source.cwl', out: [], in: {x: z}}\n"
    )
    documents["inline"] = (
        f"{HEAD.format('Workflow')}{requirements}inputs: {{x: string}}\n"
        "steps:\n  s:\n    in: {text: x}\n    out: []\n    run:\n      class: CommandLineTool\n      baseCommand: cat\n"
        "      inputs: {text: string}\n      outputs: []\n      stdout: $(inputs.text)\n"
    )
    documents["expression"] = (
        "cwlVersion: v1.2\nclass: ExpressionTool\ninputs: {text: string}\noutputs: {o: File}\n"
        "requirements: {InlineJavascriptRequirement: {}}\n"
        "expression: \"${return {o: {class: 'File', location: inputs.text}};}\"\n"
    )
    for name, content in documents.items():
        (directory / f"{name}.cwl").write_text(content)
    found = {}
    for entry, answer in describe_entries(directory, [Entry(name, f"{name}.cwl") for name in documents], 60):
        assert "error" not in answer, answer["error"]
        found[entry.id] = answer["description"]["dangers"]
    return found


@pytest.mark.parametrize("name", DANGEROUS)
def test_what_depends_on_a_text_is_told(dangers: dict[str, list[str]], name: str) -> None:
    assert [danger for danger in dangers[name] if DANGEROUS[name][1] in danger], dangers[name]
    assert all(danger.startswith(f"{name}.cwl: whoever gives `") for danger in dangers[name])


@pytest.mark.parametrize("name", HARMLESS)
def test_what_does_not_is_not(dangers: dict[str, list[str]], name: str) -> None:
    assert dangers[f"not {name}"] == []


@pytest.mark.parametrize("name", WORKFLOWS)
def test_text_is_followed_through_steps(dangers: dict[str, list[str]], name: str) -> None:
    names = WORKFLOWS[name][2]
    expected = f"tool.cwl: whoever gives {names} chooses which files are the output `o` (glob)"
    assert dangers[f"flow {name}"] == ([expected] if names else [])


def test_text_is_followed_through_outputs_and_workflows(dangers: dict[str, list[str]]) -> None:
    expected = "tool.cwl: whoever gives `{}` chooses which files are the output `o` (glob)"
    assert dangers["flow through"] == [expected.format("x")]
    assert dangers["flow below"] == [expected.format("z")]
    assert dangers["inline"] == ["inline.cwl, step s: whoever gives `x` chooses which file a tool writes as stdout"]
    assert dangers["expression"] == ["expression.cwl: whoever gives `text` chooses which files are outputs"]


def test_of_the_examples_nothing_is_said() -> None:
    examples = resource("examples")
    mains = sorted(path.relative_to(examples) for path in Path(examples).glob("*/main.cwl"))
    entries = [Entry(str(path.parent), str(path)) for path in mains]
    for _, answer in describe_entries(examples, entries, 60):
        assert answer["description"]["dangers"] == []
