# METADATA
# scope: package
# schemas:
#   - input: schema.input
package bailiff.open

# METADATA
# title: Password hashes opened by an unlisted program
# description: |
#   The programs that check passwords are in data.secrets.readers. While you
#   find out who else needs them, leave this an alert; then make it a deny.
# custom: {id: secret-read, severity: high, attack: [T1003.008]}
alert contains {"message": message} if {
	input.file.path in data.secrets.files
	not input.process.exe.path in data.secrets.readers
	not input.process.exe.path in data.exceptions.secret_read.exe
	message := sprintf("%s opened %s", [input.process.exe.path, input.file.path])
}
