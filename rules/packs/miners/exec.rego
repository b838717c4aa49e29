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
#   mining pool or with the options of a miner. The kernel picks programs by
#   place; the arguments are read by OPA after the start, so this never blocks.
#   A miner that reads its settings from a file is not seen.
# custom: {id: miner-pool-arguments, severity: high, attack: [T1496]}
alert contains {"message": message} if {
	some place in data.packs.miners.places
	startswith(input.file.path, place)
	miner_argument
	not input.process.exe.path in data.packs.miners.exceptions.exe
	not input.file.path in data.packs.miners.exceptions.file
	message := sprintf("%s was told to mine: %s", [input.file.path, concat(" ", input.args)])
}

miner_argument if {
	some arg in input.args
	regex.match(`(stratum[0-9]?\+(tcp|ssl|tls|udp|http)://|--donate-level|--randomx-|--nicehash|--coin[= ]|xmr\.pool|\.nanopool\.org|minexmr|moneroocean)`, arg)
}
