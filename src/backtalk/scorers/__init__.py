"""Who hears how good speech is: DNSMOS, a speaker encoder, and words as they are spoken."""
