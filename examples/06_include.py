"""
Several modules: each collects its hooks in a `Hooks()` and includes the modules it uses, without importing the app.

The modules are parts/database.py, parts/cache.py and parts/mail.py. Cache and mail both include the database. It is
opened once, before them, and closed once, after them.

    python examples/06_include.py

Prints:

    database: open
    cache: knows apples pears
    shop: selling an apple
    mail: sent receipt
    cache: written back {'apples': 2}
    database: closed with {'apples': 2, 'pears': 5}

Exit status: 0.
"""

from parts import cache, database, mail

from graceful import App

app = App("shop")
app.include(cache.hooks)
app.include(mail.hooks)


async def main() -> None:
    print("shop: selling an apple")
    cache.held_back["apples"] = database.stock["apples"] - 1
    mail.outbox.append("receipt")


if __name__ == "__main__":
    app.run(main)
