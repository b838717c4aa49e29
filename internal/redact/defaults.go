package redact

// Defaults are the rules that hold unless the configuration says otherwise.
// They are for what is common, not for everything: docs/operating.md lists them.
func Defaults() []Rule {
	return []Rule{
		{Name: "password",
			Options: []string{"-*password", "-*passwd", "-*passphrase", "--pass", "-*-pass"},
			Env:     []string{"*PASSWORD", "*PASSWD", "*PASSPHRASE", "*_PASS", "*_PWD", "SSHPASS", "REDISCLI_AUTH"}},
		{Name: "token",
			Options: []string{"-*token", "-*secret", "-*secret-key", "-*secret_key", "-*api-key", "-*api_key", "-*apikey", "-*access-key",
				"aws_access_key_id", "aws_secret_access_key", "aws_session_token"},
			Env: []string{"*TOKEN", "*SECRET", "*SECRET_KEY", "*API_KEY", "*APIKEY", "*ACCESS_KEY", "*ACCESS_KEY_ID", "*PRIVATE_KEY", "*_CREDENTIAL"}},
		{Name: "url-password", Patterns: []string{`://[^\s/?#:@"']*:([^\s/?#@"']+)@`}},
		{Name: "url-user-token", Patterns: []string{`://([^\s/?#:@"']{20,})@`}},
		{Name: "url-query",
			Patterns: []string{`(?i)[?&](?:[a-z0-9_-]*token|[a-z0-9_-]*secret|[a-z0-9_-]*password|api_?key|sig|[a-z0-9-]*signature)=([^&\s"'#;]+)`}},
		{Name: "authorization",
			Patterns: []string{`(?i)\b(?:proxy-)?authorization["']?\s*[:=]\s*["']?((?:(?:basic|bearer|token|digest|negotiate|apikey|aws4-hmac-sha256)\s+)?[^\s"']+)`}},
		{Name: "header", Patterns: []string{`(?i)\b(?:x-[a-z-]*(?:token|key|secret)|private-token|api-?key|cookie)\s*:\s*([^\s"']+)`}},
		{Name: "aws-key-id", Patterns: []string{`\bAKIA[A-Z0-9]{12,}`, `\bASIA[A-Z0-9]{12,}`}},
		{Name: "known-token", Patterns: []string{
			`\bgh[pousr]_[A-Za-z0-9]{16,}`, `\bgithub_pat_\w{16,}`, `\bglpat-[\w-]{16,}`, `\bxox[abeprs]-[\w-]{10,}`,
			`\bnpm_[A-Za-z0-9]{16,}`, `\bhvs\.[\w-]{16,}`, `\bAIza[\w-]{30,}`, `\bsk-[\w-]{20,}`, `\bsk_live_\w{10,}`}},
		{Name: "jwt", Patterns: []string{`\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?`}},
		{Name: "private-key", Patterns: []string{`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----(.*?)(?:-----END|$)`}},
		{Name: "mysql", Programs: []string{"mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlcheck", "mariadb", "mariadb-dump", "mariadb-admin"},
			Attached: []string{"-p"}},
		{Name: "short-p", Programs: []string{"sshpass", "useradd", "usermod", "mongo", "mongosh", "mongodump", "mongorestore"},
			Options: []string{"-p"}},
		{Name: "short-p-attached", Programs: []string{"sshpass", "7z", "7za", "7zr"}, Attached: []string{"-p"}},
		{Name: "curl", Programs: []string{"curl"}, Options: []string{"-u", "--user", "-U", "--proxy-user", "--oauth2-bearer"}, Attached: []string{"-u", "-U"}},
		{Name: "wget", Programs: []string{"wget"}, Options: []string{"--http-password", "--ftp-password", "--proxy-password"}},
		{Name: "redis", Programs: []string{"redis-cli", "valkey-cli"}, Options: []string{"-a"}, Attached: []string{"-a"}},
		{Name: "ldap", Programs: []string{"ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldappasswd", "ldapwhoami"}, Options: []string{"-w"}, Attached: []string{"-w"}},
		{Name: "samba", Programs: []string{"smbclient", "rpcclient", "net"}, Options: []string{"-U", "--user"}, Attached: []string{"-U"}},
		{Name: "mount-option", Patterns: []string{`(?i)(?:^|[,;\s])pass(?:word|wd)?=([^,;\s"']+)`}},
		{Name: "openssl", Programs: []string{"openssl"}, Options: []string{"-k", "-K"}, Patterns: []string{`\bpass:(\S+)`}},
		{Name: "zip", Programs: []string{"zip", "unzip", "sqlcmd"}, Options: []string{"-P"}, Attached: []string{"-P"}},
	}
}
