"""Networks of the face experiments: encoders f, the generator g and the discriminator D."""
