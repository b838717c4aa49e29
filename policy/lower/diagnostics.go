package lower

// Code is the stable name of a diagnostic; docs/lowering.md has a heading for
// each. Numbers are never reused.
type Code string

// The codes. L00x speak about a whole rule, the others about a part of one.
const (
	CodeAlways        Code = "L001"
	CodeNever         Code = "L002"
	CodeUnknownFlag   Code = "L003"
	CodeAlternatives  Code = "L004"
	CodeHookFull      Code = "L005"
	CodeUntrusted     Code = "L006"
	CodeUserField     Code = "L010"
	CodeTime          Code = "L011"
	CodeWith          Code = "L012"
	CodeEvery         Code = "L013"
	CodeJoined        Code = "L014"
	CodeHelper        Code = "L015"
	CodeBuiltin       Code = "L016"
	CodeRegex         Code = "L017"
	CodeGlob          Code = "L018"
	CodePrefix        Code = "L019"
	CodeContains      Code = "L020"
	CodeSuffix        Code = "L021"
	CodeNamePrefix    Code = "L022"
	CodeOrder         Code = "L023"
	CodeTwoFields     Code = "L024"
	CodeList          Code = "L025"
	CodePathConstant  Code = "L026"
	CodeStatement     Code = "L027"
	CodeScan          Code = "L028"
	CodeComprehension Code = "L029"
	CodeNotHeld       Code = "L030"
	CodeOnlyHeld      Code = "L031"
	CodeText          Code = "L032"
	CodeDigest        Code = "L033"
	CodeOnlySome      Code = "L034"
)

// Codes lists every code, for the documentation and its test.
func Codes() []Code {
	return []Code{CodeAlways, CodeNever, CodeUnknownFlag, CodeAlternatives, CodeHookFull, CodeUntrusted,
		CodeUserField, CodeTime, CodeWith, CodeEvery, CodeJoined, CodeHelper, CodeBuiltin, CodeRegex, CodeGlob,
		CodePrefix, CodeContains, CodeSuffix, CodeNamePrefix, CodeOrder, CodeTwoFields, CodeList,
		CodePathConstant, CodeStatement, CodeScan, CodeComprehension, CodeNotHeld, CodeOnlyHeld, CodeText, CodeDigest, CodeOnlySome}
}

// hints says what to write instead, where there is one answer for the code.
var hints = map[Code]string{
	CodeAlways:        "add a condition, or annotate the rule with custom: {always: true} if every act is meant",
	CodeNever:         "a field is zero on this hook, or two conditions exclude each other",
	CodeAlternatives:  "compare with one set instead of many alternatives, or split the rule",
	CodeHookFull:      "put values of like rules into one set",
	CodeUntrusted:     "add a condition on something that the kernel gives, such as process.exe.path or process.uid",
	CodeUserField:     "keep the other conditions of the rule: they are what the kernel filters on",
	CodeTime:          "the answer changes without the act changing: it is asked every time",
	CodeWith:          "pass the part of input to a function instead of replacing input",
	CodeEvery:         "say of each element by itself that it is in a list, below a directory, or in none, as in every x in input.process.ancestors { x in data.paths }",
	CodeRegex:         "use ==, in, startswith with a directory, or endswith; alternatives are several rules or a set",
	CodeGlob:          "use startswith with a directory that ends in /, or endswith on file.name",
	CodePrefix:        "end the prefix in / to mean a directory, or list the paths",
	CodeContains:      "name the directories, or test file.name",
	CodeSuffix:        "test file.name with ==, or a suffix without / of at most 24 bytes",
	CodeNamePrefix:    "list the names in a set",
	CodeOrder:         "strings can be compared with == and in",
	CodeTwoFields:     "only numbers of two fields can be compared",
	CodeList:          "test one member: \"x\" in input....",
	CodePathConstant:  "write the absolute, clean path: one slash between names, no . or .., no slash at the end",
	CodeScan:          "make it an object keyed by the value and write data.list[input.field]",
	CodeOnlyHeld:      "annotate a deny rule with custom: {undecided: hold}, and do not read process.cgroup.execs_per_second or all of input in it",
	CodeDigest:        "write the 64 hex digits of sha256sum, in lower case (for input.file.verity sha256: or sha512: and the digits, as fsverity measure prints them), and compare with == or in",
	CodeOnlySome:      "annotate a deny rule with custom: {undecided: hold}: where the kernel does not have the digest the exec waits for the agent to get it",
	CodeText:          "compare with ==, in, startswith, endswith, contains or a regular expression that counts less; alternatives are a set",
	CodeNotHeld:       "split the rule: hold what rests on the file, the caller and what the exec is given; a script can be judged as a file of its own",
	CodeComprehension: "write the condition with some ... in, or not",
}
