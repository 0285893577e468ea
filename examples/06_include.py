"""
Several modules: each collects its hooks in a `Hooks()`, includes those of what it uses, and knows nothing of the app.

The parts are parts/database.py, parts/cache.py and parts/mail.py. Cache and mail both include the database: it is opened
once, before them, and closed once, behind them.

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
