package bailiff.exec

# METADATA
# title: Netcat told to run a program
# description: |
#   nc, ncat or socat is started with an option that gives the connection to a
#   program. The kernel looks for the tools by name, and reads the arguments
#   before the first instruction. A copy under another name, and a shell that is
#   connected by a pipe, are not seen.
# custom: {id: nc-exec-option, severity: high, attack: [T1059.004]}
alert contains {"message": message} if {
	input.file.name in data.netcats
	runs_a_program
	not input.process.exe.path in data.exceptions.nc_exec_option.exe
	message := sprintf("%s ran %s", [input.process.exe.path, concat(" ", input.args)])
}

runs_a_program if {
	some arg in input.args
	regex.match(`^(-[a-zA-Z0-9]*[ec][a-zA-Z0-9]*|--exec|--sh-exec|--lua-exec)(=.*)?$`, arg)
}

runs_a_program if {
	some arg in input.args
	regex.match(`(?i)^(exec|system|shell):`, arg)
}
