package bailiff.exec

# METADATA
# title: Coin miner run by its name
# description: |
#   A program with the name of a known miner is run. A miner under another name
#   is not seen by this rule: miner-pool-arguments looks at what it is told.
# custom: {id: miner-program, severity: high, attack: [T1496]}
deny contains {"message": message} if {
	input.file.name in data.packs.miners.programs
	not input.process.exe.path in data.packs.miners.exceptions.exe
	not input.file.path in data.packs.miners.exceptions.file
	message := sprintf("%s ran the miner %s", [input.process.exe.path, input.file.path])
}

# METADATA
# title: Program told to join a mining pool
# description: |
#   A program outside of the system directories is started with the address of a
#   mining pool or with the options of a miner. The kernel reads the arguments
#   when the new program is in place. A miner that reads its settings from a file
#   is not seen.
# custom: {id: miner-pool-arguments, severity: high, attack: [T1496]}
alert contains {"message": message} if {
	strings.any_prefix_match(input.file.path, data.packs.miners.places)
	miner_argument
	not input.process.exe.path in data.packs.miners.exceptions.exe
	not input.file.path in data.packs.miners.exceptions.file
	message := sprintf("%s was told to mine: %s", [input.file.path, concat(" ", input.args)])
}

miner_argument if {
	some arg in input.args
	some word in miner_words
	contains(arg, word)
}

miner_words contains word if {
	some word in [
		"--donate-level", "--randomx-", "--nicehash", "--coin=", "--coin ",
		"xmr.pool", ".nanopool.org", "minexmr", "moneroocean",
	]
}

miner_words contains address if {
	some version in ["", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
	some transport in ["tcp", "ssl", "tls", "udp", "http"]
	address := sprintf("stratum%s+%s://", [version, transport])
}
