module example.com/bailiff

go 1.26.0
