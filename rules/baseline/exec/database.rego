package bailiff.exec

# METADATA
# title: Database server runs a program
# description: |
#   A database server runs a program itself: COPY ... PROGRAM, a user-defined
#   function, a module. Archive and replication commands run through a shell:
#   list that shell in the exceptions if you use them. What initdb starts is
#   allowed by data. What the program then runs is not judged. Make it a deny rule once the alerts are quiet.
# custom: {id: db-spawns-anything, severity: high, attack: [T1190]}
alert contains {"message": message} if {
	input.process.exe.path in data.databases
	not input.file.path in data.databases
	not input.process.exe.path in data.exceptions.db_spawns.exe
	not input.file.path in data.exceptions.db_spawns.file
	not below_initdb
	message := sprintf("%s ran %s", [input.process.exe.path, input.file.path])
}

below_initdb if {
	some above in input.process.ancestors
	above in data.exceptions.db_spawns.below
}
